"""Write the option tables into README.md, from the declarations; with --check, only compare."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from connector.aerospike.options import AerospikeOptions
from connector.options import Options, option_table
from connector.redis.options import RedisOptions
from spark_ext.options import TableOptions
from spark_ext.streaming.options import StreamOptions

README = Path(__file__).parent.parent / "README.md"
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
    text = README.read_text()
    fresh = with_tables(text)
    if parser.parse_args().check:
        if fresh != text:
            raise SystemExit("README.md: the option tables are out of date; run scripts/options.py")
        return
    README.write_text(fresh)


if __name__ == "__main__":
    main()
