from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import IntegrityError, UsageError
from dedupe import report_ids
from dedupe.apply import Applied, apply
from dedupe.report_ids import DROPPED, KEPT, UNKNOWN, ReportIds
from tests.conftest import Finished

Cli = Callable[..., Finished]


def write_report(folder: Path, kept: Iterable[str], dropped: Iterable[str], dataset: str | None = None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, ids in (("keep", kept), ("drop", dropped)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["item_id", "tier", *(["dataset"] if dataset else [])])
            writer.writerows([each, "bytes", *([dataset] if dataset else [])] for each in ids)
    (folder / "summary.json").write_text("{}")
    return str(folder)


def counts(applied: Applied) -> tuple[int, int, int, int, int]:
    assert applied.rows == applied.kept + applied.dropped
    return applied.rows, applied.kept, applied.dropped, applied.not_in_report, applied.absent


names = st.text(st.sampled_from('ab1",;é '), min_size=1, max_size=4).map(str.strip).filter(bool)


def quoted(cell: str, always: bool) -> str:
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if always or set(cell) & set('",;\t\r\n') else cell


rows = st.lists(st.tuples(names, st.text(st.sampled_from('x",\r\n;ü '), max_size=5)), max_size=12)


@given(
    table=rows,
    dropped=st.sets(names, max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
    always=st.booleans(),
    ending=st.sampled_from([".csv", ".csv.gz", ".tsv"]),
)
@settings(max_examples=80, deadline=None)
def test_text_rows_stay_byte_for_byte_but_those_dropped(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[str, str]],
    dropped: set[str],
    end: str,
    always: bool,
    ending: str,
) -> None:
    folder = tmp_path_factory.mktemp("apply")
    kept = {name for name, _ in table} - dropped
    report = write_report(folder / "report", kept, dropped)
    delimiter = "\t" if ending == ".tsv" else ","

    def text(chosen: Iterable[tuple[str, str]]) -> bytes:
        lines = [("note", "item_id", "image"), *((note, name, "a.jpg") for name, note in chosen)]
        return "".join(delimiter.join(quoted(each, always) for each in line) + end for line in lines).encode()

    def stored(data: bytes) -> bytes:
        return gzip.compress(data) if ending.endswith(".gz") else data

    catalog, output = folder / f"catalog{ending}", folder / f"cleaned{ending}"
    catalog.write_bytes(stored(text(table)))
    before = catalog.read_bytes()
    applied = apply(report, [str(catalog)], str(output))
    data = output.read_bytes()
    assert (gzip.decompress(data) if ending.endswith(".gz") else data) == text(
        (name, note) for name, note in table if name not in dropped
    )
    gone = sum(name in dropped for name, _ in table)
    assert counts(applied) == (len(table), len(table) - gone, gone, 0, len(dropped - {name for name, _ in table}))
    assert catalog.read_bytes() == before


def test_rows_that_no_reader_takes_and_blank_lines_are_kept_where_they_were(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report", ["a", "d"], ["b", "c"])
    lines = ["\ufeffid,image", "", "a,1.jpg", "b,2.jpg,too many", "b,3.jpg", "", "c,4.jpg", "d,5.jpg", "new,6.jpg", "x"]
    (tmp_path / "in.csv").write_text("\n".join(lines), encoding="utf-8")
    applied = apply(report, [str(tmp_path / "in.csv")], str(tmp_path / "out.csv"))
    left = [line for line in lines if line not in ("b,3.jpg", "c,4.jpg")]
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "\n".join(left)
    assert counts(applied) == (7, 5, 2, 3, 0)


def test_json_lines_stay_as_they_are_written(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report", ["1", "ü"], ["2", 'q"\\'])
    lines = [
        '{"id": 1, "image": "a", "price": 1.10}',
        "",
        '{"image":"b","id":"2"}',
        "not json",
        '{"id": "\\u00fc", "image": "c"}',
    ]
    lines += ['{"id": "q\\"\\\\", "image": "d"}', '{"image": "e"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    applied = apply(report, [str(tmp_path / "in.jsonl")], str(tmp_path / "out.jsonl.gz"))
    left = [line for number, line in enumerate(lines) if number not in (2, 5)]
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).decode() == "\n".join(left) + "\n"
    assert counts(applied) == (6, 4, 2, 2, 0)


def test_parquet_keeps_its_columns_types_and_codec(tmp_path: Path) -> None:
    ids = [f"i{number}" for number in range(1_000)]
    dropped = ids[::7]
    report = write_report(tmp_path / "report", sorted({*ids} - {*dropped}), [*dropped, "gone"])
    table = pa.table(
        {
            "when": pa.array(np.arange(1_000), pa.timestamp("ns", "UTC")),
            "item_id": pa.array(ids).dictionary_encode(),
            "image": ids,
            "tags": [[each, None] for each in ids],
            "price": pa.array(range(1_000), pa.decimal128(9, 2)),
        }
    ).replace_schema_metadata({"made": "by hand"})
    pq.write_table(table, tmp_path / "in.parquet", compression="zstd", row_group_size=300)
    applied = apply(report, [str(tmp_path / "in.parquet")], str(tmp_path / "out.parquet"))
    cleaned = pq.read_table(tmp_path / "out.parquet")
    assert cleaned.schema.equals(pq.read_table(tmp_path / "in.parquet").schema, check_metadata=True)
    chosen = np.flatnonzero(~np.isin(ids, dropped))
    assert cleaned.equals(pq.read_table(tmp_path / "in.parquet").take(pa.array(chosen)))
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0).column(0).compression == "ZSTD"
    assert counts(applied) == (1_000, 857, 143, 0, 1)


def test_several_files_go_to_a_folder_under_their_names(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report", ["a"], ["b"])
    for name, row in (("1.csv", "a"), ("2.csv", "b")):
        (tmp_path / name).write_text(f"id,image\n{row},x\n")
    applied = apply(report, [str(tmp_path / "?.csv")], str(tmp_path / "cleaned"))
    assert [(tmp_path / "cleaned" / name).read_text() for name in ("1.csv", "2.csv")] == [
        "id,image\na,x\n",
        "id,image\n",
    ]
    assert counts(applied) == (2, 1, 1, 0, 0)


def test_a_location_is_an_id_without_its_signature(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report", [], ["https://shop/a.jpg"])
    (tmp_path / "in.csv").write_text("image\nhttps://shop/a.jpg?token=1\n")
    assert counts(apply(report, [str(tmp_path / "in.csv")], str(tmp_path / "out.csv"))) == (1, 0, 1, 0, 0)


def test_each_dataset_has_its_own_catalog(tmp_path: Path) -> None:
    report = Path(write_report(tmp_path / "report", ["a"], ["b"], "train"))
    for name, line in (("keep", "b,,test"), ("drop", "a,bytes,test")):
        with (report / f"{name}.csv").open("a") as file:
            file.write(f"{line}\r\n")
    (tmp_path / "in.csv").write_text("id,image\na,1\nb,2\n")
    for dataset, left in (("train", "a,1"), ("test", "b,2")):
        apply(str(report), [str(tmp_path / "in.csv")], str(tmp_path / "out.csv"), dataset)
        assert (tmp_path / "out.csv").read_text() == f"id,image\n{left}\n"
    for dataset, said in (
        (None, "name that of the catalog with --dataset"),
        ("val", "no item of a dataset of this name"),
    ):
        with pytest.raises(UsageError, match=said):
            apply(str(report), [str(tmp_path / "in.csv")], str(tmp_path / "out.csv"), dataset)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("in.csv", "is the catalog, which is never changed"),
        ("link.csv", "is the catalog, which is never changed"),
        ("report/drop.csv", "is in the report"),
        ("out.parquet", "is not named as a file of the kind"),
        ("out.tsv", "is not named as a file of the kind"),
        ("out", "is no catalog file"),
    ],
)
def test_what_must_stay_is_not_written_to(tmp_path: Path, output: str, said: str) -> None:
    report = write_report(tmp_path / "report", ["a"], ["b"])
    (tmp_path / "in.csv").write_text("id,image\na,1\nb,2\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "in.csv")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=said):
        apply(report, [str(tmp_path / "in.csv")], str(tmp_path / output))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_report_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    report = Path(write_report(tmp_path / "report", ["a", "b"], ["b"]))
    (tmp_path / "in.csv").write_text("id,image\na,1\n")
    places = ([str(tmp_path / "in.csv")], str(tmp_path / "out.csv"))
    with pytest.raises(IntegrityError, match=r"an item is in both keep\.csv and drop\.csv"):
        apply(str(report), *places)
    (report / "summary.json").unlink()
    with pytest.raises(UsageError, match=r"has no summary\.json"):
        apply(str(report), *places)
    assert not (tmp_path / "out.csv").exists()


def test_a_quote_in_the_middle_of_a_cell_is_no_reason_to_lose_a_row(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report", ["a", "c"], ["b"])
    text = 'id,size,image\na,5" wide,1\nb,7" wide,2\nc,"9"" wide",3\n'
    (tmp_path / "in.csv").write_text(text)
    apply(report, [str(tmp_path / "in.csv")], str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == 'id,size,image\na,5" wide,1\nc,"9"" wide",3\n'


def test_ids_whose_hashes_begin_alike_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(ids: pa.Array) -> np.ndarray:
        return np.array([[7, int(each)] for each in ids.to_pylist()], np.uint64).reshape(-1, 2)

    monkeypatch.setattr(report_ids, "_words", alike)
    ids = ReportIds(write_report(tmp_path / "report", ["1", "4", "6"], ["2", "3"]))
    assert ids.look_up(pa.array(["3", "5", "1", "6", "9"])).tolist() == [DROPPED, UNKNOWN, KEPT, KEPT, UNKNOWN]
    assert ids.absent == 1


def test_the_command_prints_counts_that_add_up(tmp_path: Path, cli: Cli) -> None:
    report = write_report(tmp_path / "report", ["a"], ["b", "gone"])
    (tmp_path / "in.csv").write_text("sku,id,image\nb,a,1\na,b,2\nc,c,3\n")
    flags = ["--report", report, "--catalog", tmp_path / "in.csv", "--output", tmp_path / "out.csv"]
    done = cli("dedupe", "apply", *flags, "--json")
    assert done.code == 0, done.err
    assert "3 rows: 2 kept, 1 dropped" in done.err
    numbers = {"rows": 3, "kept": 2, "dropped": 1, "not_in_report": 1, "absent": 1}
    assert done.json == {**numbers, "files": [str(tmp_path / "out.csv")]}
    by_sku = cli("dedupe", "apply", *flags, "--item-id-column", "sku", "--json")
    assert json.dumps(by_sku.json["dropped"]) == "1"
    assert (tmp_path / "out.csv").read_text() == "sku,id,image\na,b,2\nc,c,3\n"
    wrong = cli("dedupe", "apply", *flags, "--item-id-column", "nope")
    assert (wrong.code, "has no column 'nope' (--item-id-column)" in wrong.err) == (2, True)
