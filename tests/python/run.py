"""Runs the tests of ops/python. Ends in "N passed, N failed"; a skipped test counts as neither.

usage: /usr/bin/python3 tests/python/run.py [NAME ...]     NAME: a part of the tests' names
"""
import os
import sys
import unittest

os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # the scripts, too
sys.dont_write_bytecode = True


class Result(unittest.TextTestResult):
    """Counts what passed; a test with a failed part, or a skipped one, did not."""
    passed = 0

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.passed += 1

    def failed(self) -> int:
        return len({getattr(test, "test_case", test).id()
                    for test, _ in self.failures + self.errors})


def main() -> int:
    loader = unittest.TestLoader()
    if sys.argv[1:]:
        loader.testNamePatterns = [f"*{name}*" for name in sys.argv[1:]]
    suite = loader.discover(os.path.dirname(os.path.abspath(__file__)))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
    print(f"{result.passed} passed, {result.failed()} failed", flush=True)
    return 0 if result.passed and not result.failed() else 1


sys.exit(main())
