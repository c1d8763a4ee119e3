"""Files in many styles: a correct one passes, the wrong gradients fail, and a faulty file gives an error."""

from pathlib import Path

import pytest

import bncheck
from bncheck import TargetError, Verdict
from tests.python_targets import CheckFile
from tests.samples import Sample, samples

pytestmark = pytest.mark.process

CORRECT = [sample for sample in samples("correct") if sample.is_checked_as_file]
WRONG = [sample for sample in samples("wrong") if sample.is_checked_as_file]

NOT_BATCH_NORM = (
    "batchnorm_forward does not compute batch normalization; "
    "batchnorm_backward was checked as the derivative of batchnorm_forward"
)


@pytest.mark.parametrize("sample", CORRECT, ids=str)
def test_a_correct_file_passes_in_any_style_with_the_notes_that_it_expects(
    sample: Sample, check_file: CheckFile
) -> None:
    assert sample.expected == "pass"
    result = check_file(sample.text, sample.path.name)
    assert result.verdict is Verdict.PASS, str(result)
    assert [case.name for case in result.edge_cases if case.verdict is not Verdict.PASS] == []
    messages = [note.message for note in result.notes]
    assert set(sample.values("note")) <= set(messages)
    assert bool(sample.values("note")) == bool(messages)
    assert set(sample.values("gradient")) <= result.gradients.keys()


@pytest.mark.parametrize("sample", WRONG, ids=str)
def test_only_the_wrong_outputs_and_gradients_of_a_file_fail(sample: Sample, check_file: CheckFile) -> None:
    kind, _, arrays = sample.expected.partition(" ")
    assert kind == "fail"
    result = check_file(sample.text, sample.path.name, edge_cases=False)
    wrong = {f"{f.name} of {f.function}" for f in result.forward if f.verdict is Verdict.FAIL}
    wrong |= {key for key, g in result.gradients.items() if g.verdict is Verdict.FAIL}
    assert wrong == set(arrays.split(", "))
    assert result.verdict is Verdict.FAIL
    messages = [note.message for note in result.notes]
    assert (NOT_BATCH_NORM in messages) == ("out of batchnorm_forward" in wrong)


@pytest.mark.parametrize("sample", samples("cannot_run"), ids=str)
def test_a_file_that_cannot_be_checked_gives_an_error_message(sample: Sample, check_file: CheckFile) -> None:
    sample.skip_if_numpy_has_name()
    with pytest.raises(TargetError) as error:
        check_file(sample.text, sample.path.name)
    message = str(error.value)
    position = 0
    for part in sample.message_parts:
        assert part in message[position:], message
        position = message.index(part, position) + len(part)
    assert str(Path(bncheck.__file__).parent) not in message  # only stack frames of the code under test
