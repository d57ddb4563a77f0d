"""Writes docs/settings.md: ``python -m sokken.settings.document > docs/settings.md``.

Everything in the table comes from the models, so that a setting cannot be documented wrongly or not at all.
"""

from typing import Final

from sokken.settings.catalogue import Setting, all_settings, programs_of

_HEAD: Final = """\
# Settings

Made from the settings themselves by `python -m sokken.settings.document > docs/settings.md`.

- An argument beats a variable, a variable beats the default. An empty variable is the same as none, but for those
  of certificates, tokens and other credentials: there it is an error, so that nothing is open by mistake.
- What is secret itself is no option, because everybody on a host can read its command lines.
- Options have one dash or two, and stand anywhere: `-max-connections 5`, `--max-connections=5`. `--` ends them.
- `true or false`: also `1`/`0`, `yes`/`no`, `on`/`off`. As an option, `-log-debug` alone is `true`.
- A list is separated by commas, spaces or newlines; a comma in a URL is written `%2C`. Arguments replace the list
  of the variable as a whole: REMOTE_ADDRs replace `SOKKEN_TARGETS`, LISTEN_ADDR and REMOTE_ADDR pairs replace
  `SOKKEN_FORWARDS`.
- A forward in `SOKKEN_FORWARDS` is `[NAME=]LISTEN=URL`, for example
  `ssh=127.0.0.1:2222=ws://machine-b:8000/tunnel/127.0.0.1:22`. NAME is 1 to 63 lower-case letters, digits and inner
  hyphens; without it the forward is called by its listen address.
- One environment may serve all programs: each ignores the others' variables. A `SOKKEN_*` variable that none
  knows is warned of at start; the variables that Kubernetes makes for Services called `sokken` or
  `sokken-something` are not.
- `sokken check-config server|client|operator` shows the settings in effect and where each came from.

| variable | argument or option | unit | default | meaning | program |
|---|---|---|---|---|---|
"""


def document() -> str:
    """Return the whole text of docs/settings.md."""
    return _HEAD + "".join(_row(setting) for setting in all_settings().values())


def _row(setting: Setting) -> str:
    place = "(variable only)" if setting.is_secret else setting.argument or f"`{setting.option}`"
    default = "(required)" if setting.argument else setting.default or "(none)"
    programs = ", ".join(programs_of(setting.name))
    return f"| `{setting.variable}` | {place} | {setting.unit} | {default} | {setting.meaning} | {programs} |\n"


if __name__ == "__main__":
    print(document(), end="")
