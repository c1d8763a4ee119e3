"""Shell commands, broken into lines that can be pasted."""

import shlex
import string

from rich.cells import cell_len

# The end of a line that continues, and the beginning of the next one.
CONTINUED, CONTINUATION = " \\", "  "
# Characters without a special meaning in a shell's $'...'.
PLAIN = frozenset(string.ascii_letters + string.digits + ' !#%&()*+,-./:;<=>?@[]^_`{|}~"$')


def wrap_command(command: str, width: int, *, ascii_only: bool = False) -> list[str]:
    r"""Break a shell command into lines that run when they are pasted.

    Parameters
    ----------
    command : str
        A command line for a POSIX shell.
    width : int
        Maximum columns of a line. A wider word is not broken and gets a separate line.
    ascii_only : bool, default False
        Write words in ASCII.

    Returns
    -------
    list of str
        The lines; each but the last ends in ``\``, and each but the first is indented by two spaces.
        An option and its value stay on one line if both fit.
    """
    *first, last = _unbreakable(command, width, ascii_only)
    lines: list[str] = []
    for part, end in (*((part, CONTINUED) for part in first), (last, "")):
        if lines and cell_len(f"{lines[-1]} {part}{end}") <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(f"{CONTINUATION}{part}" if lines else part)
    return [*(f"{line}{CONTINUED}" for line in lines[:-1]), lines[-1]]


def _unbreakable(command: str, width: int, ascii_only: bool) -> list[str]:
    """Return the parts of a command that are not broken: an option with its value, or a single word."""
    parts: list[str] = []
    expects_value = False
    for word in shlex.split(command):
        quoted, is_option = _quoted(word, ascii_only), word.startswith("--")
        if expects_value and not is_option and cell_len(f"{CONTINUATION}{parts[-1]} {quoted}{CONTINUED}") <= width:
            parts[-1] += f" {quoted}"
        else:
            parts.append(quoted)
        expects_value = is_option
    return parts


def _quoted(word: str, ascii_only: bool) -> str:
    """Quote a word for a shell; unprintable characters become the octal codes of their bytes."""
    if word.isprintable() and (word.isascii() or not ascii_only):
        return shlex.quote(word)
    codes = (chr(b) if chr(b) in PLAIN else f"\\{b:03o}" for b in word.encode("utf-8", "surrogateescape"))
    return f"$'{''.join(codes)}'"
