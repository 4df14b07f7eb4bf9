#!/usr/bin/env python3
"""Every rule of tools/tidy.py can fail, and does not fail where it should not."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
import tidy  # noqa: E402

UNFINISHED = "TO" + "DO"  # in halves: tidy reads this file too
PAIR = ("// R1: pairs with A1. Publishes the id.\n"
        "tail.store(1, std::memory_order_release);\n"
        "// A1: pairs with R1.\n"
        "tail.load(std::memory_order_acquire);\n")


class RuleTest(unittest.TestCase):
    def clean(self, tree):
        self.assertEqual(tidy.problems_in(tree), [])

    def broken(self, tree, *expected):
        """Each expected text is in one problem of its own, and there are no others."""
        problems = tidy.problems_in(tree)
        self.assertEqual(len(problems), len(expected), problems)
        for problem, text in zip(problems, expected):
            self.assertIn(text, problem)


class TestsNamed(RuleTest):
    def test_a_test_that_exists_may_be_named(self):
        self.clean({"tests/README.md": "`Ring.is_full`\n", "tests/unit/a.cpp": "TEST_F(Ring, is_full) {\n"})

    def test_one_that_does_not_exist_is_an_error(self):
        self.broken({"tests/README.md": "`Ring.is_full`\n", "tests/unit/a.cpp": "TEST_F(Ring, is_empty) {\n"},
                    "tests/README.md:1: Ring.is_full")


class Names(RuleTest):
    KEPT = ("namespace {{\n\nconstexpr int kMost = 1;\nstruct Found {{\n    int at;\n}};\n"
            "bool is_there(int at) {{ return at == 1; }}\nTEST(A, b) {{\n{0}}}\n\n}}  // namespace\n")

    def test_a_name_that_two_files_of_a_folder_keep_is_an_error(self):
        text = self.KEPT.format("")
        self.broken({"src/a/x.cpp": text, "src/a/y.cpp": text}, "src/a/y.cpp:3: kMost", "src/a/y.cpp:4: Found",
                    "src/a/y.cpp:7: is_there")

    def test_those_of_other_folders_and_other_scopes_may_be_alike(self):
        text = self.KEPT.format("")
        self.clean({"src/a/x.cpp": text, "src/b/y.cpp": text, "tests/crash/x.cpp": text, "tests/crash/y.cpp": text})
        self.clean({"src/a/x.cpp": text, "src/a/y.cpp": "int kMost() {\n    struct Found {};\n    return is_there(0);\n}\n"})


class Includes(RuleTest):
    def test_own_layer_and_those_to_the_left_are_allowed(self):
        self.clean({"src/a.cpp": '#include "src/b.hpp"\n#include "shm/c.hpp"\n#include <telpher/d.hpp>\n'})

    def test_a_layer_to_the_right_is_an_error(self):
        for path, name in [("shm/a.cpp", "src/b.hpp"), ("src/a.cpp", "tcp_bridge/b.hpp"),
                           ("tcp_bridge/a.cpp", "tools/telpher/b.hpp"), ("src/a.hpp", "tests/unit/b.hpp")]:
            with self.subTest(path):
                self.broken({path: f'#include "{name}"\n'}, f"{path}:1: \"{name}\" lies to the right")

    def test_a_path_not_from_the_root_is_an_error(self):
        self.broken({"src/a.cpp": '#include "b.hpp"\n'}, "a path from the root")
        self.broken({"src/a.cpp": '\n#include "../shm/b.hpp"\n'}, "src/a.cpp:2:")


class PublicHeaders(RuleTest):
    def test_public_and_standard_headers_are_allowed(self):
        self.clean({"include/telpher/a.hpp": '#include "telpher/b.hpp"\n#include <string_view>\n'})

    def test_anything_else_is_an_error(self):
        for name in ["<boost/lockfree/queue.hpp>", "<sys/mman.h>", "<openssl/ssl.h>"]:
            with self.subTest(name):
                self.broken({"include/telpher/a.hpp": f"#include {name}\n"}, "neither public nor standard")

    def test_a_private_header_breaks_two_rules(self):
        self.broken({"include/telpher/a.hpp": '#include "shm/b.hpp"\n'}, "to the right", "neither public")


class Length(RuleTest):
    def test_400_lines_are_allowed_and_401_are_not(self):
        for suffix in ["cpp", "hpp", "py", "sh"]:
            self.clean({f"src/a.{suffix}": "x\n" * 400})
            self.broken({f"src/a.{suffix}": "x\n" * 401}, "401 lines")


class Orders(RuleTest):
    def test_a_pair_in_one_file_is_complete(self):
        self.clean({"shm/a.hpp": PAIR})

    def test_an_order_without_a_comment_is_an_error(self):
        for order in ["acquire", "release", "acq_rel", "seq_cst"]:
            for spelling in [f"std::memory_order_{order}", f"std::memory_order::{order}"]:
                with self.subTest(spelling):
                    self.broken({"src/a.cpp": f"x.load({spelling});\n"}, f"src/a.cpp:1: {order}: no comment")

    def test_a_builtin_is_an_order_too(self):
        self.broken({"shm/a.cpp": "__atomic_load_n(&x, __ATOMIC_ACQUIRE);\n"}, "acquire: no comment")

    def test_a_comment_without_a_tag_is_not_enough(self):
        self.broken({"shm/a.cpp": "// publishes the id\nx.store(1, std::memory_order_release);\n"}, "no comment")

    def test_a_tag_more_than_six_lines_above_is_too_far(self):
        near, far = (PAIR + "x();\n" * gap + "y.load(std::memory_order_acquire);\n" for gap in (4, 6))
        self.clean({"shm/a.cpp": near})
        self.broken({"shm/a.cpp": far}, "acquire: no comment")

    def test_a_comment_block_counts_however_long_it_is(self):
        block = "// R1: pairs with R1. Long.\n" + "// more\n" * 9
        self.clean({"shm/a.cpp": block + "x.store(1, std::memory_order_release);\n"})

    def test_a_defined_tag_may_be_named_again(self):
        self.clean({"shm/a.cpp": PAIR + "a();\n" * 9 + "tail.store(2, std::memory_order_release);  // R1, again\n"})
        self.broken({"shm/a.cpp": "tail.store(2, std::memory_order_release);  // R9, again\n"}, "no comment")

    def test_a_partner_that_does_not_exist_is_an_error(self):
        self.broken({"shm/a.cpp": PAIR.replace("with R1", "with R7")}, "A1 pairs with R7, which this module")

    def test_a_tag_without_a_partner_is_an_error(self):
        text = "// R1: pairs with the other side.\nx.store(1, std::memory_order_release);\n"
        self.broken({"shm/a.cpp": text}, "R1 names no partner")

    def test_a_partner_in_another_file_needs_its_name(self):
        far = "// B1: pairs with {}.\ny.load(std::memory_order_acquire);\n"
        self.clean({"shm/a.hpp": PAIR, "shm/b.cpp": far.format("the store (a.hpp:R1)")})
        self.broken({"shm/a.hpp": PAIR, "shm/b.cpp": far.format("R1")}, "B1 pairs with R1")
        self.broken({"shm/a.hpp": PAIR, "shm/b.cpp": far.format("a.hpp:R9")}, "a.hpp:R9, which does not exist")
        self.broken({"shm/a.hpp": PAIR, "shm/b.cpp": far.format("c.hpp:R1")}, "c.hpp:R1, which does not exist")

    def test_header_and_source_of_one_name_are_one_module(self):
        source = "// B1: pairs with R1.\ny.load(std::memory_order_acquire);\n"
        self.clean({"shm/a.hpp": PAIR, "shm/a.cpp": source, "shm/a_inline.hpp": source})

    def test_only_the_clause_after_pairs_with_names_partners(self):
        self.clean({"shm/a.cpp": PAIR.replace("A1: pairs with R1.", "A1: pairs with R1: as Q5 does. Not Q6.")})

    def test_relaxed_without_a_comment_is_an_error(self):
        self.broken({"shm/a.cpp": "x.load(std::memory_order_relaxed);\n"}, "relaxed: no comment")

    def test_relaxed_with_a_comment_near_is_fine(self):
        use = "x.load(std::memory_order_relaxed);"
        self.clean({"shm/a.cpp": f"{use}  // ours\n", "shm/b.cpp": f"// ours\na();\nb();\n{use}\n"})
        self.broken({"shm/a.cpp": f"// ours\na();\nb();\nc();\n{use}\n"}, "shm/a.cpp:5: relaxed")

    def test_comments_and_other_folders_are_no_uses(self):
        self.clean({"shm/a.cpp": "// a std::memory_order_acquire would do\n",
                    "tests/unit/a_test.cpp": "x.load(std::memory_order_acquire);\n"})


class Words(RuleTest):
    def test_marks_of_unfinished_work_are_errors_in_every_file(self):
        for word in [UNFINISHED, "FIX" + "ME", "X" + "XX"]:
            self.broken({"README.md": f"a\n{word}: b\n"}, f"README.md:2: {word}")
        self.clean({"tools/a.sh": f"mktemp -d name.{'X' * 6}\n"})

    def test_fences_are_errors_in_every_folder(self):
        for call in ["std::atomic_thread_fence(o)", "__sync_synchronize()", "__atomic_thread_fence(5)"]:
            self.broken({"tests/unit/a_test.cpp": f"{call};\n"}, "cannot see fences")
        self.clean({"shm/a.cpp": "// no atomic_thread_fence here\n"})

    def test_a_default_order_is_an_error_in_shm(self):
        for call in ["x.load()", "p->store(f(1), 2)", "x.fetch_add(1)", "x.exchange(\n 2)",
                     "x.compare_exchange_weak(a, (b + c))"]:
            with self.subTest(call):
                self.broken({"shm/a.cpp": f"{call};\n"}, "default memory order")
        self.clean({"shm/a.cpp": "std::exchange(a, b);\nx.store(f(1), order);\n"})

    def test_in_src_only_what_can_be_nothing_but_an_atomic(self):
        self.clean({"src/a.cpp": "files.store(record);\n"})
        self.broken({"src/a.cpp": "x.fetch_add(1);\nx.load();\n"}, "src/a.cpp:1: fetch_add", "src/a.cpp:2: load")


class Quotes(RuleTest):
    README = "# A\n```cpp file=tests/examples/queue.cpp\nint main() {}\n```\n"

    def test_an_equal_quote_is_fine(self):
        self.clean({"README.md": self.README, "tests/examples/queue.cpp": "int main() {}\n"})

    def test_a_differing_quote_is_an_error(self):
        self.broken({"README.md": self.README, "tests/examples/queue.cpp": "int main() { }\n"}, "README.md:2: the quoted")

    def test_a_quote_of_a_missing_file_is_an_error(self):
        self.broken({"README.md": self.README}, "is no file of tests/examples")


class Blanks(RuleTest):
    def test_tabs_trailing_spaces_and_missing_or_doubled_last_newlines_are_errors(self):
        self.broken({"a.md": "a\tb\n"}, "a.md:1: a tab")
        self.broken({"a.md": "a\nb \n"}, "a.md:2: a space")
        self.broken({"a.md": "a"}, "one newline")
        self.broken({"a.md": "a\n\n"}, "one newline")


class CommandLine(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = pathlib.Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return subprocess.run([sys.executable, str(ROOT / "tools/tidy.py"), root],
                                  capture_output=True, text=True, timeout=60, check=False)

    def test_exit_code_and_output_tell_of_a_problem(self):
        result = self.run_on({"shm/a.cpp": "a\t\n"})
        self.assertEqual(result.returncode, 1)
        self.assertIn("shm/a.cpp:1: a tab", result.stdout)

    def test_a_clean_tree_exits_0_and_build_folders_are_not_read(self):
        result = self.run_on({"shm/a.cpp": PAIR, "build/a.cpp": "\t", "build-x/a.cpp": "\t", ".git/a": "\t"})
        self.assertEqual((result.returncode, result.stdout), (0, "tidy: 1 files, 0 problems\n"))

    def test_an_empty_tree_is_an_error(self):
        self.assertEqual(self.run_on({}).returncode, 1)


if __name__ == "__main__":
    unittest.main()
