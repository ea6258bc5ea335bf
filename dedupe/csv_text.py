"""Tables as the text of a CSV."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pa_csv


def csv_text(table: pa.Table) -> bytes:
    """The rows without a header, text in quotes."""
    sink = pa.BufferOutputStream()
    # In one piece: for an empty one among several, Arrow 25 writes what happens to be in its buffer.
    whole = table.combine_chunks()
    if len(whole):
        pa_csv.write_csv(whole, sink, pa_csv.WriteOptions(include_header=False, quoting_style="needed"))
    return bytes(sink.getvalue().to_pybytes())
