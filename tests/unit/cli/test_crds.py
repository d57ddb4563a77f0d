import pytest
import yaml

from sokken.cli.main import main


def test_the_definition_of_tunnels_is_printed(capsys):
    assert main(["operator", "crds"]) == 0
    definition = yaml.safe_load(capsys.readouterr().out)
    assert (definition["kind"], definition["metadata"]["name"]) == ("CustomResourceDefinition", "tunnels.sokken.dev")


def test_its_help(capsys):
    assert main(["operator", "crds", "--help"]) == 0
    assert "kubectl apply --server-side -f -" in capsys.readouterr().out


def test_it_has_no_arguments(capsys):
    assert main(["operator", "crds", "tunnels"]) == 2
    assert capsys.readouterr().err == "sokken: 'tunnels': sokken operator crds has no arguments\n"


@pytest.mark.parametrize("words", [["operator", ":8000"], ["operator"]])
def test_without_kopf_the_operator_says_how_to_get_it(capsys, monkeypatch, words):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("SOKKEN_API_ADDR", ":8000")
    assert main(words) == 3
    told = "sokken: the operator needs kopf, which is not installed: pip install 'sokken[operator]'\n"
    assert capsys.readouterr().err == told
