#!/usr/bin/env python3
"""Checks the project's own rules, those that neither the compiler nor clang-tidy knows. Exit 1 if one is broken.

usage: tidy.py [ROOT]

  includes   a file includes only its own layer or one to its left, by a path from the root
  public     a public header includes only public and standard headers
  length     no source file is longer than 400 lines
  orders     every memory order says why: a tag and its partner, or why relaxed is enough
  words      no marks of unfinished work, no fences, no default memory order
  quotes     a program quoted in a document is the program in tests/examples, letter by letter
  names      what a file keeps to itself has a name that no other file of its folder keeps: they are compiled together
  blanks     no tabs, no spaces at the end of a line, one newline at the end of a file
"""

import os
import pathlib
import re
import sys

LINES_MAX = 400
LAYERS = {"include": 0, "shm": 1, "src": 2, "tcp_bridge": 3, "tools": 4, "bench": 4, "tests": 4}
SKIPPED_FOLDERS = {".git", "__pycache__", "corpus", ".cache", "Testing"}
TEXT_SUFFIXES = {".cpp", ".hpp", ".h", ".py", ".sh", ".md", ".cmake", ".txt", ".json", ".in", ".pml", ""}
LENGTH_SUFFIXES = {".cpp", ".hpp", ".py", ".sh"}
# Written in two halves, or this file would break its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "X" "XX"]) + r")\b")
FENCE = re.compile(r"\b(atomic_thread_fence|atomic_signal_fence|__atomic_thread_fence|__sync_synchronize)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
ORDER = re.compile(r"memory_order(?:_|::)(acquire|release|acq_rel|seq_cst|consume|relaxed)\b"
                   r"|__ATOMIC_(ACQUIRE|RELEASE|ACQ_REL|SEQ_CST|CONSUME|RELAXED)\b")
LITERAL = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)'""")
TAG = r"[A-Z]{1,2}\d{1,2}"
DEFINITION = re.compile(rf"\b({TAG}): pairs with\b(.*?)(?=[.:;](?:\s|$)|\b{TAG}: pairs with\b|$)", re.DOTALL)
PARTNER = re.compile(rf"(?:([\w/]+\.\w+):)?\b({TAG})\b")
ATOMIC_CALL = re.compile(r"(?:\.|->)(load|store|exchange|fetch_\w+|compare_exchange_\w+|test_and_set)\s*\(")
TEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", re.MULTILINE)
TEST_NAME = re.compile(r"`([A-Z]\w+\.[a-z]\w+)`")
QUOTE = re.compile(r"^```cpp file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Compiled in groups (cmake/telpher_unity.cmake).
TOGETHER = ("shm", "src/", "tcp_bridge", "tools/telpher", "tests/unit")
OWN = re.compile(r"(?:class|struct|enum class|enum|union) (\w+)|using (\w+) =|"
                 r"[\w:<>,&*\[\]() \"]*?[ &*](\w+)\(|[\w:<>,&* ]+?[ &*](\w+)(?:\{| =|;|\[)")
NO_OWN = ("return", "TEST", "INSTANTIATE", "SHM_", "static_assert", "using namespace", "namespace", "template", "public:",
          "private:", "protected:", "}", "#", "/", " ")
TAG_WINDOW = 6      # lines above an acquire or release in which its comment may begin
RELAXED_WINDOW = 3  # lines above a relaxed


def read_tree(root):
    """Path from the root -> text, for every text file."""
    tree = {}
    for folder, folders, names in os.walk(root):
        here = pathlib.Path(folder).relative_to(root)
        top = here == pathlib.Path(".")
        folders[:] = sorted(name for name in folders
                            if name not in SKIPPED_FOLDERS and not (top and name.startswith("build")))
        for name in sorted(names):
            path = pathlib.Path(folder) / name
            if path.suffix in TEXT_SUFFIXES and path.is_file():
                try:
                    tree[(here / name).as_posix()] = path.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue  # not text: a test's data
    return tree


def is_cpp(path):
    return path.endswith((".cpp", ".hpp", ".h"))


def split_comments(text):
    """For each line the pair (code, comment); strings keep their quotes but lose their content."""
    lines = []
    for line in text.split("\n"):
        emptied = LITERAL.sub(lambda match: '"' + "_" * (len(match[0]) - 2) + '"', line)
        at = emptied.find("//")
        lines.append((emptied, "") if at < 0 else (emptied[:at], line[at + 2:].strip()))
    return lines


def rank_of_include(name):
    top = name.split("/")[0]
    if top == "telpher":
        return LAYERS["include"]
    return LAYERS.get(top) if top != "include" and "/" in name else None


def check_includes(tree):
    for path, text in tree.items():
        rank = LAYERS.get(path.split("/")[0])
        if not is_cpp(path) or rank is None:
            continue
        for number, line in enumerate(text.split("\n"), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            quote, name = found.groups()
            other = rank_of_include(name)
            if other is None and quote == '"':
                yield path, number, f'"{name}": a project include is a path from the root'
            elif other is not None and other > rank:
                yield path, number, f'"{name}" lies to the right of {path.split("/")[0]}/'


def check_public_headers(tree):
    for path, text in tree.items():
        if not path.startswith("include/telpher/") or not is_cpp(path):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            found = INCLUDE.match(line)
            if not found or found[2].startswith("telpher/"):
                continue
            if found[1] == '"' or not re.fullmatch(r"[a-z_0-9]+", found[2]):
                yield path, number, f"a public header includes {found[2]}, neither public nor standard"


def check_length(tree):
    for path, text in tree.items():
        count = text.count("\n")
        if pathlib.PurePosixPath(path).suffix in LENGTH_SUFFIXES and count > LINES_MAX:
            yield path, count, f"{count} lines, more than {LINES_MAX}"


def comment_blocks(lines):
    """Line index -> the comment block that the line belongs to, as one text; a block is a run of comment lines."""
    blocks = {}
    start = 0
    while start < len(lines):
        end = start + 1
        if lines[start][1]:
            while end < len(lines) and lines[end][1] and not lines[end][0].strip():
                end += 1
            text = " ".join(comment for _, comment in lines[start:end])
            blocks.update((index, (start, text)) for index in range(start, end))
        start = end
    return blocks


def comments_near(blocks, index, window):
    """The comment blocks that touch the line or the window above it, nearest first."""
    seen = []
    for near in range(index, max(-1, index - window - 1), -1):
        if near in blocks and blocks[near] not in seen:
            seen.append(blocks[near])
    return [text for _, text in seen]


def tags_defined(tree):
    """Path -> the tags that its comments define."""
    tags = {}
    for path, text in tree.items():
        if is_cpp(path):
            blocks = comment_blocks(split_comments(text))
            tags[path] = {found[1] for _, comment in set(blocks.values()) for found in DEFINITION.finditer(comment)}
    return tags


def module_of(path):
    """x.hpp, x_inline.hpp and x.cpp of one folder are one module, in which a tag needs no file name."""
    return re.sub(r"(_inline)?\.\w+$", "", path)


def tags_of_module(path, tags):
    return set().union(*(tags[other] for other in tags if module_of(other) == module_of(path)))


def partner_problems(path, comment, tags):
    """What is wrong with the partners that the comment names."""
    here = tags_of_module(path, tags)
    for definition in DEFINITION.finditer(comment):
        partners = PARTNER.findall(definition[2])
        elsewhere = {tag for file, tag in partners if file}
        if not partners:
            yield f"{definition[1]} names no partner"
        for file, tag in partners:
            if file:
                owners = [other for other in tags if other == file or other.endswith("/" + file)]
                if not any(tag in tags[other] for other in owners):
                    yield f"{definition[1]} pairs with {file}:{tag}, which does not exist"
            elif tag not in here and tag not in elsewhere:
                yield f"{definition[1]} pairs with {tag}, which this module does not define (elsewhere: FILE:{tag})"


def check_orders(tree):
    tags = tags_defined(tree)
    for path, text in tree.items():
        if not is_cpp(path) or not path.startswith(("shm/", "src/")):
            continue
        lines = split_comments(text)
        blocks = comment_blocks(lines)
        here = tags_of_module(path, tags)
        for start, comment in sorted(set(blocks.values())):
            for problem in partner_problems(path, comment, tags):
                yield path, start + 1, problem
        for index, (code, _) in enumerate(lines):
            for order in {(found[1] or found[2]).lower() for found in ORDER.finditer(code)}:
                window = RELAXED_WINDOW if order == "relaxed" else TAG_WINDOW
                comments = comments_near(blocks, index, window)
                if order == "relaxed" and not comments:
                    yield path, index + 1, "relaxed: no comment says why that is enough"
                elif order != "relaxed" and not any(is_tagged(comment, here) for comment in comments):
                    yield path, index + 1, f"{order}: no comment `R1: pairs with A1` on this line or above"


def is_tagged(comment, tags_here):
    """A definition, or one that begins with a tag that the module defines elsewhere (`// R1, as above`)."""
    begins = re.match(rf"({TAG})\b", comment)
    return bool(DEFINITION.search(comment)) or bool(begins and begins[1] in tags_here)


def call_arguments(code, opened_at):
    """The text between the parenthesis at `opened_at` and its partner."""
    depth = 0
    for at in range(opened_at, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return code[opened_at + 1:at]
    return code[opened_at + 1:]


def has_default_order(path, name, arguments):
    """In shm/ every such call is on an atomic; in src/ a plain store(x) or exchange(x) may be anything."""
    if re.search(r"memory_order|\border\b|\b\w+_order\b|__ATOMIC_", arguments):
        return False
    if path.startswith("shm/"):
        return True
    return name.startswith(("fetch_", "compare_exchange")) or (name == "load" and not arguments.strip())


def check_words(tree):
    for path, text in tree.items():
        for number, line in enumerate(text.split("\n"), 1):
            found = UNFINISHED.search(line)
            if found:
                yield path, number, f"{found[0]}: finish it or say it where plans are kept"
        if not is_cpp(path):
            continue
        code = "\n".join(code for code, _ in split_comments(text))
        for found in FENCE.finditer(code):
            yield path, line_of(code, found.start()), f"{found[0]}: ThreadSanitizer cannot see fences"
        if path.startswith(("shm/", "src/")):
            for found in ATOMIC_CALL.finditer(code):
                if has_default_order(path, found[1], call_arguments(code, found.end() - 1)):
                    yield path, line_of(code, found.start()), f"{found[1]}: default memory order"


def own_names(text):
    """Name -> line, of what a file defines in unnamed namespaces."""
    names, inside = {}, False
    for number, line in enumerate(text.splitlines(), 1):
        if line == "namespace {":
            inside = True
        elif line == "}  // namespace":
            inside = False
        elif inside and (found := OWN.match(line)) and not line.startswith(NO_OWN):
            names.setdefault(next(name for name in found.groups() if name), number)
    return names


def check_names(tree):
    kept = {}  # folder and name -> file
    for path, text in sorted(tree.items()):
        folder = path.rpartition("/")[0]
        if not path.endswith(".cpp") or not folder.startswith(TOGETHER) or folder == "tests/unit/support":
            continue
        for name, line in own_names(text).items():
            first = kept.setdefault((folder, name), path)
            if first != path:
                yield path, line, f"{name} is also what {first} keeps to itself; both are compiled together"


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def check_quotes(tree):
    for path, text in tree.items():
        if not path.endswith(".md"):
            continue
        for found in QUOTE.finditer(text):
            name, quoted = found.groups()
            number = line_of(text, found.start())
            if not re.fullmatch(r"tests/examples/\w+\.cpp", name) or name not in tree:
                yield path, number, f"{name} is no file of tests/examples"
            elif tree[name] != quoted:
                yield path, number, f"the quoted text differs from {name}"


def check_tests_named(tree):
    """A document that names a test (`Suite.name`) beside tests/ names one that exists."""
    named = {"%s.%s" % found for path, text in tree.items() if path.startswith("tests/") and is_cpp(path)
             for found in TEST.findall(text)}
    text = tree.get("tests/README.md", "")
    for found in TEST_NAME.finditer(text):
        if found[1] not in named:
            yield "tests/README.md", line_of(text, found.start()), f"{found[1]}: there is no such test"


def check_blanks(tree):
    for path, text in tree.items():
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line:
                yield path, number, "a tab"
            if line != line.rstrip():
                yield path, number, "a space at the end of the line"
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            yield path, text.count("\n") + 1, "the file does not end with one newline"


CHECKS = [check_includes, check_public_headers, check_length, check_orders, check_words, check_names, check_quotes,
          check_tests_named, check_blanks]


def problems_in(tree):
    return [f"{path}:{line}: {text}" for check in CHECKS for path, line, text in check(tree)]


def main(arguments):
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parent.parent
    tree = read_tree(root)
    problems = problems_in(tree)
    print(*problems, f"tidy: {len(tree)} files, {len(problems)} problems", sep="\n")
    return 1 if problems or not tree else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
