"""What the image adds to its base, as it lies on a disk and as it goes over the network."""

import pytest

from tests.support.image_files import measure_layers

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def layers(image, base):
    return measure_layers(image, base)


def test_it_is_small_on_a_disk(layers):
    assert layers.unpacked < 85 * MIB


def test_it_is_small_on_the_network(layers):
    assert layers.compressed < 35 * MIB
