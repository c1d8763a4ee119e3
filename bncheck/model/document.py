"""The JSON document of a check."""

CHECK_SCHEMA = "bncheck/2"
