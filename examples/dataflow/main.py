"""What the launcher of the Flex Templates starts. Nothing else is here: no step belongs to this program."""

from pipelines.flex_template import main

if __name__ == "__main__":
    raise SystemExit(main())
