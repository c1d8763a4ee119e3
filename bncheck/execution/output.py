"""What the code under test printed."""

# Output that is content, in bytes.
MAX_OUTPUT_BYTES = 10**6


class Output:
    """The first part of what the code under test printed, and how much there was."""

    def __init__(self) -> None:
        self.beginning = bytearray()  # the first MAX_OUTPUT_BYTES
        self.bytes = self.lines = 0  # of all

    def add(self, data: bytes) -> None:
        """Add output."""
        self.beginning += data[: MAX_OUTPUT_BYTES - len(self.beginning)]
        self.bytes += len(data)
        self.lines += data.count(b"\n")

    @property
    def text(self) -> str:
        """The first part of the output, and how much there was."""
        text = self.beginning.decode(errors="backslashreplace")
        if self.bytes > len(self.beginning):
            text += f"\n... (the first {len(self.beginning):,} of {self.bytes:,} bytes)"
        return text

    @property
    def summary(self) -> str:
        """How much was printed: "190 lines"; empty if nothing was."""
        lines = self.lines + (self.bytes <= MAX_OUTPUT_BYTES and not self.beginning.endswith(b"\n"))
        return f"{lines:,} line{'s' * (lines != 1)}" if self.bytes else ""
