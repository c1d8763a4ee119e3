"""The installed package: its files, metadata and completion script, and the workflow, action and hook for CI."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import bncheck
from bncheck.cli.main import main
from tests.readme import blocks
from tests.samples import LAYERS, WRONG_LAYERS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def editable(installed: Distribution) -> bool:
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


@pytest.mark.process
def test_the_tested_package_is_the_installed_one() -> None:
    installed = distribution("bncheck")
    location = ROOT if editable(installed) else Path(str(installed.locate_file("")))
    assert Path(bncheck.__file__) == (location / "bncheck" / "__init__.py").resolve()
    code = "import bncheck; print(bncheck.__file__)"
    for command in ([sys.executable, "-c", code], [sys.executable, "-P", "-c", code]):
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert process.stdout.strip() == bncheck.__file__


def package_files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".py", ".md", ".toml", ".txt")
    }


def test_every_file_of_the_package_is_installed() -> None:
    folder, source = Path(bncheck.__file__).parent, ROOT / "bncheck"
    assert {"model/layers.py", "cli/template.txt", "mistakes/BN204.md"} <= package_files(folder)
    if source.is_dir():
        assert package_files(folder) == package_files(source)
    assert (folder / "py.typed").exists()


def test_the_metadata_is_complete() -> None:
    metadata = distribution("bncheck").metadata
    assert metadata["Name"] == "bncheck"
    assert metadata["Version"] == bncheck.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert "\n# bncheck\n" in str(distribution("bncheck").read_text("METADATA"))
    classifiers = metadata.get_all("Classifier") or []
    assert {"Typing :: Typed", "Environment :: Console", "Programming Language :: Python :: 3.11"} <= set(classifiers)
    base = [name for name in metadata.get_all("Requires-Dist") or [] if "extra ==" not in name]
    assert sorted(re.split(r"[<>=]", name)[0] for name in base) == ["click", "numpy", "rich"]
    result = CliRunner().invoke(main, ["--version"], prog_name="bncheck")
    assert result.stdout == f"bncheck {bncheck.__version__}\n"


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_prints_a_script(shell: str) -> None:
    if shell == "bash" and not os.path.exists("/bin/bash"):
        pytest.skip("no bash")
    environment = {**os.environ, "_BNCHECK_COMPLETE": f"{shell}_source"}
    script = "import sys; sys.argv[0] = 'bncheck'; from bncheck.cli.main import main; main(prog_name='bncheck')"
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "_BNCHECK_COMPLETE" in process.stdout


def load_yaml(path: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_and_the_hook_in_the_readme_exist() -> None:
    yaml = pytest.importorskip("yaml")
    (_, action), (hook,) = map(yaml.safe_load, blocks("yaml"))
    folder, _, version = action["uses"].partition("bncheck/")[2].partition("@")
    assert action["with"].keys() <= load_yaml(f"{folder}/action.yml")["inputs"].keys()
    assert [h["id"] for h in load_yaml(".pre-commit-hooks.yaml")] == [h["id"] for h in hook["hooks"]]
    assert version == hook["rev"] == f"v{bncheck.__version__}"
    words = shlex.split(f"run {action['with']['options']}")
    command = main.get_command(click.Context(main), "run")
    assert command is not None
    assert command.make_context("run", words[1:]).params["N"] == 64


def test_ci_tests_the_lowest_versions_that_are_allowed() -> None:
    lowest = {name.replace(">=", "==") for name in PROJECT["dependencies"]}
    jobs = load_yaml(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["include"]
    (job,) = (job for job in jobs if job["versions"])
    pinned = job["versions"].split()
    assert {re.sub(r"==(\d+\.\d+)\.0$", r"==\1", pin) for pin in pinned} == lowest
    assert PROJECT["requires-python"] == f">={job['python']}"


def test_ci_tests_the_systems_of_the_classifiers() -> None:
    matrix = load_yaml(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    systems = {*matrix["system"], *(job["system"] for job in matrix["include"])}
    assert systems == {"ubuntu-latest", "macos-latest"}
    names = {line.rpartition(" :: ")[2] for line in PROJECT["classifiers"] if line.startswith("Operating System")}
    assert names == {"POSIX", "Linux", "MacOS"}


def test_every_step_of_ci_is_an_action_or_a_command() -> None:
    for name, job in load_yaml(".github/workflows/ci.yml")["jobs"].items():
        assert job["steps"], name
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    steps = load_yaml(".github/actions/bncheck/action.yml")["runs"]["steps"]
    assert all(step["shell"] == "bash" for step in steps)
    # Inputs of the user are never written into a script.
    assert not any("${{" in step["run"] for step in steps)


@pytest.mark.parametrize(("source", "code"), [(LAYERS, 0), (WRONG_LAYERS, 1)])
def test_the_action_checks_its_targets_and_annotates_them(source: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text(source, encoding="utf-8")
    action = load_yaml(".github/actions/bncheck/action.yml")
    _, check = action["runs"]["steps"]
    inputs = {"targets": "layers.py", "options": "--N 8 --D 5 --H 4 --save gradients.xml"}
    assert inputs.keys() == action["inputs"].keys()
    variables = {name: inputs[re.findall(r"inputs\.(\w+)", value)[0]] for name, value in check["env"].items()}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, **variables, "PATH": path, "GITHUB_WORKSPACE": str(tmp_path)}
    process = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", check["run"]],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == code, process.stderr
    assert process.stdout.startswith("::error file=layers.py,line=" if code else "PASS  layers.py")
    assert (tmp_path / "gradients.xml").exists()


def test_the_hook_runs_a_command_of_bncheck() -> None:
    (hook,) = load_yaml(".pre-commit-hooks.yaml")
    program, command = hook["entry"].split()
    assert program in PROJECT["scripts"]
    assert command in main.list_commands(click.Context(main))
    assert re.search(hook["files"], "course/layers.py")
    assert not re.search(hook["files"], "course/test_layers.py")
