"""The records of the catalogue, and how a mistake is looked up."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bncheck import InvalidInput
from bncheck.mistakes import NO_MISTAKE, all_mistakes, mistake_named
from bncheck.mistakes.pass_values import VALUE_ORDER
from bncheck.model.components import BATCHNORM, NETWORK

# The first digit of the codes of each section.
SECTION_DIGITS = {
    "forward": "1", "dx": "2", "dgamma, dbeta": "3", "ReLU": "4",
    "affine": "5", "eps": "6", "shapes": "7", "side effects": "8",
}  # fmt: skip
# The mistakes that were collected from real code.
COLLECTED = """
statistics-treated-as-constants mean-term-missing variance-term-missing diagonal-only factor-on-the-diagonal
not-summed mean-instead-of-sum mean-over-everything std-instead-of-var H-instead-of-N sign-of-eps
eps-missing-in-backward eps-missing-in-forward clamp-instead-of-eps gamma-missing gamma-by-matrix-product
square-instead-of-root unbiased-variance unbiased-variance-term running-statistics mask-missing mask-from-dout
mask-includes-zero sign-of-the-mean-term sign-of-the-variance-term sums-instead-of-means divided-by-N-twice
dW-transposed h-instead-of-X db-from-dy bias-missing mutates-input parameter-update nondeterministic not-normalized
"""


def test_the_catalogue_contains_115_mistakes_sorted_by_code() -> None:
    codes = [m.code for m in all_mistakes()]
    assert len(codes) == 115
    assert codes == sorted(set(codes))


def test_codes_names_and_former_names_are_unique() -> None:
    labels = [label.upper() for m in all_mistakes() for label in (m.code, m.name, *m.old_names)]
    assert len(labels) == len(set(labels))


def test_the_first_digit_of_a_code_is_its_section_and_names_are_kebab_case() -> None:
    for m in all_mistakes():
        assert re.fullmatch(rf"BN{SECTION_DIGITS[m.section]}\d\d", m.code)
        assert re.fullmatch(r"\w+(-\w+)*", m.name)
    assert list(dict.fromkeys(m.section for m in all_mistakes())) == list(SECTION_DIGITS)


def test_the_mistakes_collected_from_real_code_are_in_the_catalogue() -> None:
    assert set(COLLECTED.split()) <= {m.name for m in all_mistakes()}


def test_a_mistake_replaces_known_values_in_the_order_of_the_pass_and_a_side_effect_replaces_none() -> None:
    for m in all_mistakes():
        assert bool(m.replaces) != m.is_side_effect, m.code
        assert set(m.replaces) <= set(VALUE_ORDER), m.code
        assert set(m.separable) <= set(m.replaces), m.code
        if m.code != "BN701":  # computes the correct dX, dW and db before it sums dh
            assert list(m.replaces) == sorted(m.replaces, key=VALUE_ORDER.index), m.code


def test_a_mistake_in_both_parameter_gradients_has_a_variant_for_each_of_them() -> None:
    variants = [set(m.replaces) for m in mistake_named("BN301").variants(BATCHNORM)]
    assert variants == [{"dbeta", "dgamma"}, {"dbeta"}, {"dgamma"}]


def test_only_the_separable_values_of_a_mistake_may_be_wrong_alone() -> None:
    several = {m.code: tuple(m.separable) for m in all_mistakes() if {"dbeta", "dgamma"} <= m.replaces.keys()}
    assert {code: s for code, s in several.items() if s != ("dbeta", "dgamma")} == {"BN305": (), "BN411": ("dh",)}
    others = {m.code: tuple(m.separable) for m in all_mistakes() if m.separable and m.code not in several}
    assert others == {"BN408": ("a",)}


def test_a_mistake_in_a_value_that_a_component_does_not_compute_has_no_variants_there() -> None:
    assert not list(mistake_named("BN401").variants(BATCHNORM))
    assert list(mistake_named("BN401").variants(NETWORK))
    assert not list(NO_MISTAKE.variants(NETWORK))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("BN204", "BN204"),
        ("bn204", "BN204"),
        ("204", "BN204"),
        ("Mean-Instead-of-Sum", "BN301"),
        ("mean instead of sum", "BN301"),
        ("mean-for-sum", "BN301"),
        ("variance-path-dropped", "BN204"),
    ],
)
def test_a_mistake_is_looked_up_by_code_name_or_former_name_in_any_case(name: str, code: str) -> None:
    assert mistake_named(name).code == code


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("BN250", "BN205 (gamma-missing)"),
        ("BN4099", "BN409 (output-instead-of-mask)"),
        ("variance-term-mising", "BN204 (variance-term-missing)"),
        ("variance-path-droped", "BN204 (variance-term-missing)"),
        ("BN 301", "BN301 (mean-instead-of-sum)"),
    ],
)
def test_an_unknown_mistake_is_reported_with_the_nearest_one(name: str, suggestion: str) -> None:
    with pytest.raises(InvalidInput) as error:
        mistake_named(name)
    assert str(error.value) == f"unknown mistake {name!r}; did you mean {suggestion}? List all with: bncheck explain"


def test_a_part_of_a_name_suggests_up_to_three_mistakes() -> None:
    with pytest.raises(InvalidInput) as error:
        mistake_named("variance")
    assert len(re.findall(r"BN\d+ \([\w-]*variance[\w-]*\)", str(error.value))) == 3


def test_a_name_that_is_similar_to_no_other_gets_no_suggestion() -> None:
    with pytest.raises(InvalidInput, match=r"^unknown mistake 'qqqqqq'; list all with: bncheck explain$"):
        mistake_named("qqqqqq")


@pytest.mark.process
def test_reading_the_catalogue_does_not_import_numpy() -> None:
    script = "import sys; from bncheck.mistakes import all_mistakes; all_mistakes(); print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_every_markdown_file_of_the_directory_is_a_mistake_with_its_code() -> None:
    directory = Path(sys.modules["bncheck.mistakes"].__file__ or "").parent
    assert [path.stem for path in sorted(directory.glob("*.md"))] == [m.code for m in all_mistakes()]
