"""What the launcher of the Flex Template starts."""

from pipelines.nightly_template import main

if __name__ == "__main__":
    raise SystemExit(main())
