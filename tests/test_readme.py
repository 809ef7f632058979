"""The README: its option tables are the declarations, and its examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from aerospikes import Aerospike
from servers import Server

from connector import open_store

ROOT = Path(__file__).parent.parent


def test_option_tables_are_those_of_the_code() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "options.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_examples_run_one_after_the_other(
    valkey_server: Server, aerospike_server: Aerospike, tmp_path: Path
) -> None:
    """As a user would paste them, with the servers' addresses and the cache's directory replaced."""
    text = (ROOT / "README.md").read_text()
    spark, training, plain, other = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    program = "\n".join(
        [
            "if __name__ == '__main__':",
            *(
                f"    {line}"
                for line in "\n".join([spark, other, "spark.stop()", training]).splitlines()
            ),
            "    assert len(batch['late']) == 2",
            "    batch = pa.record_batch({'id': [3], 'carrier': ['B6'], 'delay': [0.0]})",
            *(f"    {line}" for line in plain.splitlines()),
            "    assert table.num_rows == 3",
        ]
    )
    program = program.replace("redis://localhost:6379/0", valkey_server.url)
    program = program.replace("aerospike://localhost:3000/test", aerospike_server.url)
    file = tmp_path / "examples.py"
    file.write_text(program.replace("~/.cache/kvlake", str(tmp_path / "cache")))
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with open_store(aerospike_server.url) as store:
        assert store.drop("flights") == 2
