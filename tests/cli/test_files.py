"""Saved reports are replaced as a unit, and no output overwrites another one."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bncheck import CheckResult, InvalidInput, Problem, check
from bncheck.cli.files import replace_content, require_replaceable
from tests.sweep_helpers import OPTIONS, invoke

RUN = ("run", *OPTIONS)
NOBODY = 65534  # the id of a user without rights


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_a_replaced_file_keeps_its_permissions_and_a_link_stays_a_link() -> None:
    Path("folder").mkdir()
    Path("folder/old.txt").write_text("old")
    Path("folder/old.txt").chmod(0o640)
    Path("link.txt").symlink_to("folder/old.txt")
    require_replaceable("link.txt")
    assert Path("folder/old.txt").read_text() == "old"
    replace_content("link.txt", b"new")
    assert Path("link.txt").is_symlink()
    assert Path("folder/old.txt").read_text() == "new"
    assert stat.S_IMODE(Path("folder/old.txt").stat().st_mode) == 0o640
    assert os.listdir("folder") == ["old.txt"]


def test_a_new_file_has_the_permissions_of_the_umask() -> None:
    Path("link.txt").symlink_to("new.txt")  # its target does not exist yet
    mask = os.umask(0o027)
    try:
        replace_content("link.txt", b"new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(Path("new.txt").stat().st_mode) == 0o640
    assert names() == ["link.txt", "new.txt"]


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
def test_a_file_that_could_not_be_replaced_is_unchanged(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("old.txt").write_text("old")
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_content("old.txt", b"new")
    assert Path("old.txt").read_text() == "old"
    assert names() == ["old.txt"]


def test_a_file_that_is_a_mount_point_is_written_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    Path("old.txt").write_text("older than new")
    monkeypatch.setattr(os, "replace", fail)
    replace_content("old.txt", b"new")
    assert Path("old.txt").read_text() == "new"
    assert names() == ["old.txt"]


def test_a_pipe_is_written_directly_and_not_opened_before() -> None:
    os.mkfifo("pipe.json")
    require_replaceable("pipe.json")  # would wait for a reader if it opened the pipe
    contents: list[str] = []
    reader = threading.Thread(target=lambda: contents.append(Path("pipe.json").read_text()))
    reader.start()
    result = invoke(*RUN, "--save", "pipe.json")
    reader.join()
    assert result.exit_code == 0
    assert json.loads(contents[0])["verdict"] == "pass"
    assert stat.S_ISFIFO(Path("pipe.json").stat().st_mode)


def test_a_read_only_folder_is_reported_before_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncheck.cli.checks.check", lambda *_, **__: pytest.fail("the check started"))
    Path("folder").mkdir(mode=0o555)
    Path.cwd().chmod(0o755)
    user = os.geteuid()
    try:
        if user == 0:  # root can write to every folder
            os.seteuid(NOBODY)
        result = invoke(*RUN, "--save", "folder/new.json")
    finally:
        os.seteuid(user)
    assert (result.exit_code, result.stderr) == (2, "Error: cannot write folder/new.json: Permission denied\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux device")
def test_a_file_that_cannot_be_written_does_not_hide_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_or_reject(problem: Problem, name: str, **options: Any) -> CheckResult:
        if name == "staged":
            raise InvalidInput("an invalid option")
        return check(problem, name, **options)

    monkeypatch.setattr("bncheck.cli.checks.check", check_or_reject)
    Path("full.txt").symlink_to("/dev/full")
    result = invoke(*RUN, "reference", "staged", "--save", "full.txt")
    assert result.stderr == "Error: an invalid option; cannot write full.txt: No space left on device\n"


def test_outputs_that_are_one_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("old.json").write_text("old")
    os.link("old.json", "hard.json")
    Path("link.json").symlink_to("old.json")
    Path("new-link.json").symlink_to("new.json")
    for first, second in (
        ("old.json", "hard.json"), ("old.json", "link.json"), ("old.json", "./old.json"), ("new.json", "new-link.json"),
        ("new.json", str(Path("new.json").absolute())),
    ):  # fmt: skip
        result = invoke(*RUN, "--save", first, "--save", second)
        message = f"Error: --save {second} would overwrite --save {first}; choose another file\n"
        assert (result.exit_code, result.stderr) == (2, message)
    result = invoke("sweep", *OPTIONS, "--out", "hard.json", "--resume", "--save", "old.json")
    assert result.stderr == "Error: --save old.json would overwrite the rows in hard.json; choose another file\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "new.md")
    result = invoke(*RUN, "--format", "github", "--save", "new.md")
    assert result.stderr == "Error: the job summary would overwrite --save new.md; choose another file\n"
    assert Path("old.json").read_text() == "old"
    assert names() == ["hard.json", "link.json", "new-link.json", "old.json"]


def test_a_device_may_be_written_twice() -> None:
    for name in ("first.json", "second.json"):
        Path(name).symlink_to("/dev/null")
    assert invoke(*RUN, "--save", "first.json", "--save", "second.json").exit_code == 0


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*RUN, "--save", "out.json"), "--save out.json would overwrite stdout; choose another file"),
        (("sweep", *OPTIONS, "--out", "out.json"), "stdout would overwrite the rows in out.json; choose another file"),
        (("report", "out.json"), "stdout would overwrite the rows in out.json; choose another file"),
    ],
)
def test_a_file_that_is_stdout_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with open("out.json", "wb") as stdout:
        command = [sys.executable, "-m", "bncheck", *arguments]
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"Error: {message}\n")
    assert Path("out.json").read_text() == ""


def test_a_usage_error_over_several_targets_keeps_an_old_report_and_writes_no_new_one() -> None:
    Path("old.json").write_text("old")
    arguments = (*RUN, "reference", "staged", "--only", "batchnorm_backward.dx", "--save", "old.json", "--save", "n.md")
    for more in ((), ("--format", "json")):
        result = invoke(*arguments, *more)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "selects no gradient of reference" in result.stderr
        assert names() == ["old.json"]
        assert Path("old.json").read_text() == "old"


@pytest.mark.process
def test_a_usage_error_at_a_later_target_keeps_the_reports_of_the_earlier_ones() -> None:
    Path("layers.py").write_text(
        "def relu_forward(x): return x * (x > 0), x\ndef relu_backward(d, x): return d * (x > 0)\n"
    )
    arguments = ("layers.py", "reference", "--only", "relu_backward.dx", "--save", "new.json")
    result = invoke(*RUN, *arguments)
    assert result.exit_code == 2
    assert "selects no gradient of reference" in result.stderr
    (document,) = json.loads(Path("new.json").read_text())
    assert document["target"]["name"] == "layers.py"
    assert "layers.py" in result.stdout


@pytest.mark.parametrize("targets", [("reference",), ("reference", "staged")])
def test_an_interruption_before_any_result_keeps_an_old_report(
    targets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bncheck.cli.checks.check", interrupt)
    Path("old.json").write_text("old")
    result = invoke(*RUN, *targets, "--save", "old.json", "--save", "new.md")
    assert (result.exit_code, result.stderr) == (130, "Interrupted before any result.\n")
    assert Path("old.json").read_text() == "old"
    assert names() == ["old.json"]


KILLED_SAVE = """
import os, signal
from bncheck import CheckResult, InvalidInput, Problem, check
from bncheck.cli.files import replace_content
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
replace_content("old.txt", b"new" * 10**6)
"""


@pytest.mark.process
def test_a_kill_during_a_save_leaves_the_old_file() -> None:
    Path("old.txt").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED_SAVE], check=False)
    assert done.returncode == -signal.SIGKILL
    assert Path("old.txt").read_text() == "old"
