"""What setup.cfg cannot say: the package has a file that stands beside its modules, kvlake.pth."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithStartup(build_py):
    """Python runs files of this kind where it starts; see kvlake_startup."""

    def run(self) -> None:
        super().run()
        built = Path(self.build_lib)
        self.copy_file(str(built / "kvlake_startup" / "kvlake.pth"), str(built / "kvlake.pth"))


setup(cmdclass={"build_py": BuildWithStartup})
