"""source.py - just enough reading of C for the style checks. It relies on the house format: a function's body opens
with a brace alone in the first column, and so does nothing else."""
import functools
import pathlib
import re
import subprocess

TEXT_ENDINGS = {'.c', '.h', '.def', '.py', '.ts', '.mjs', '.js', '.css', '.html', '.md', '.build', '.txt', '.json', '.yaml', '.yml',
                '.conf', '.svg', '.sh', ''}
TOKEN = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
CALL = re.compile(r'(?<![\w.>])([A-Za-z_]\w*)\s*\(')


def blank(text):
    """The same number of lines and columns, without content."""
    return re.sub(r'[^\n]', ' ', text)


class Function:
    def __init__(self, name, first, lines, body, body_first, says_long):
        self.name, self.first, self.lines = name, first, lines
        self.body, self.body_first, self.says_long = body, body_first, says_long

    def calls(self):
        for offset, line in enumerate(self.body):
            for match in CALL.finditer(line):
                yield self.body_first + offset, match[1]


class File:
    def __init__(self, top, path):
        self.path = path
        self.text = (top / path).read_text(encoding='utf-8')

    @functools.lru_cache(maxsize=None)
    def code(self):
        """Lines with comments and literals blanked."""
        return TOKEN.sub(lambda match: blank(match[0]), self.text).split('\n')

    def without_strings(self):
        return TOKEN.sub(lambda match: match[0] if match[0].startswith('/*') else blank(match[0]), self.text)

    def includes(self):
        """(line, name, whether in quotes)"""
        for number, line in enumerate(self.text.split('\n'), 1):
            match = re.match(r'\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', line)
            if match:
                yield number, match[1] or match[2], match[1] is not None

    def calls(self):
        for number, line in enumerate(self.code(), 1):
            if not line.lstrip().startswith('#'):
                for match in CALL.finditer(line):
                    yield number, match[1]

    @functools.lru_cache(maxsize=None)
    def functions(self):
        lines, found, index = self.code(), [], 0
        while index < len(lines):
            if lines[index] != '{':
                index += 1
                continue
            end = next((i for i in range(index, len(lines)) if lines[i] == '}'), len(lines) - 1)
            head = index
            while head > 0 and lines[head - 1].strip() and not lines[head - 1].startswith(('}', '#')):
                head -= 1
            names = CALL.findall(' '.join(lines[head:index]))
            above = '\n'.join(self.text.split('\n')[max(0, head - 12):head])
            comment = above[above.rfind('/*'):] if above.rstrip().endswith('*/') else ''
            found.append(Function(names[0] if names else '?', head + 1, end - head + 1, lines[index:end + 1], index + 1,
                                  re.search(r'(?<!\w)Long:', comment) is not None))
            index = end + 1
        return found


class Tree:
    def __init__(self, top):
        names = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=top, check=True,
                               capture_output=True, text=True).stdout.split('\0')
        self.text = []
        for name in sorted(filter(None, names)):
            path = pathlib.Path(top, name)
            if not path.is_file() or path.suffix not in TEXT_ENDINGS or '/corpus/' in name or name == 'LICENSE':
                continue
            try:
                self.text.append(File(top, name))
            except UnicodeDecodeError:
                continue
        self.c = [file for file in self.text if file.path.endswith(('.c', '.h'))]
