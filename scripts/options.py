"""Write the option tables into the documents, from the declarations; with --check, only compare."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from connector.aerospike.options import AerospikeOptions
from connector.options import Options, option_table
from connector.redis.options import RedisOptions
from spark_ext.options import TableOptions
from spark_ext.streaming.options import StreamOptions

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "spark.md", ROOT / "docs" / "streaming.md")
TABLES: dict[str, type[Options]] = {
    "redis": RedisOptions,
    "aerospike": AerospikeOptions,
    "table": TableOptions,
    "streaming": StreamOptions,
}


def with_tables(text: str) -> str:
    """The text with a fresh table between each pair of ``<!-- options: name -->`` and ``<!-- end -->``."""

    def fresh(found: re.Match[str]) -> str:
        return f"{found[1]}\n{option_table(TABLES[found[2]])}\n{found[4]}"

    pattern = r"(<!-- options: (\w+) -->)(.*?)(<!-- end -->)"
    return re.sub(pattern, fresh, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="fail where the tables are out of date"
    )
    check = parser.parse_args().check
    for document in DOCUMENTS:
        text = document.read_text()
        fresh = with_tables(text)
        if not check:
            document.write_text(fresh)
        elif fresh != text:
            raise SystemExit(
                f"{document.name}: the option tables are out of date; run scripts/options.py"
            )


if __name__ == "__main__":
    main()
