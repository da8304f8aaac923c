"""Edits the text of a sidecar.conf: the tests start from the shipped file and change what they are about.

Understands as much of libconfig's syntax as is needed to find a setting: comments, strings, groups, lists, arrays.
"""

import json
import re

_SPACE = re.compile(r"(?:\s|#[^\n]*|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_WORD = re.compile(r"[^\s{}()\[\]=:;,\"#]+")


class Raw(str):
    """A value that is libconfig text already."""


class Config:
    def __init__(self, text):
        self.text = text

    def get(self, setting):
        """The text of "limits.bulk" as it stands in the file, or None."""
        span = self._spans().get(setting)
        return self.text[span[1] : span[2]] if span else None

    def set(self, setting, value):
        """Strings, numbers, booleans and lists of them become libconfig's; Raw goes in as it is."""
        literal = _literal(value)
        span = self._spans().get(setting)
        if span:
            return self._splice(span[1], span[2], literal)
        parent, _, name = setting.rpartition(".")
        if parent and self.get(parent) is None:
            self.set(parent, Raw("{ }"))
        at = self._spans()[parent][1] + 1 if parent else len(self.text)
        return self._splice(at, at, f"\n    {name} = {literal}\n")

    def remove(self, setting):
        start, _, end = self._spans()[setting]
        return self._splice(start, end, "")

    def replace(self, old, new):
        """For everything else. The old text must stand there exactly once."""
        at = self._only(old)
        return self._splice(at, at + len(old), new)

    def line_of(self, text):
        """The line on which this text begins; it must stand there exactly once."""
        return self.text.count("\n", 0, self._only(text)) + 1

    def write(self, path):
        path.write_text(self.text, encoding="utf-8")
        return path

    def _only(self, text):
        assert self.text.count(text) == 1, f"{text!r} stands {self.text.count(text)} times in the configuration"
        return self.text.index(text)

    def _splice(self, start, end, new):
        self.text = self.text[:start] + new + self.text[end:]
        return self

    def _spans(self):
        """Of each setting, by its dotted path: where its name begins, where its value begins and ends."""
        spans = {}
        self._settings(0, "", spans)
        return spans

    def _skip(self, at):
        return _SPACE.match(self.text, at).end()

    def _settings(self, at, prefix, spans):
        at = self._skip(at)
        while at < len(self.text) and self.text[at] != "}":
            name = _WORD.match(self.text, at)
            assert name, f"a setting's name expected at {self.text[at : at + 30]!r}"
            assign = self._skip(name.end())
            assert self.text[assign] in "=:", self.text[assign : assign + 30]
            start = self._skip(assign + 1)
            end = self._value(start, prefix + name.group(), spans)
            spans[prefix + name.group()] = (at, start, end)
            at = self._skip(end)
            while self.text[at : at + 1] in (";", ","):
                at = self._skip(at + 1)
        return at

    def _value(self, at, path, spans):
        if self.text[at] == "{":
            return self._settings(at + 1, path + ".", spans) + 1
        if self.text[at] in "([":
            at = self._skip(at + 1)
            while self.text[at] not in ")]":
                at = self._skip(self._value(at, path + ".*", spans))
                at = self._skip(at + 1) if self.text[at] == "," else at
            return at + 1
        match = _STRING.match(self.text, at) or _WORD.match(self.text, at)
        assert match, f"a value expected at {self.text[at : at + 30]!r}"
        while following := _STRING.match(self.text, self._skip(match.end())):
            match = following  # adjacent strings are one
        return match.end()


def _literal(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(_literal(item) for item in value) + " ]"
    return str(value)


def section(**settings):
    """A group of settings, such as an entry of `tables`; an underscore in a name stands for a hyphen."""
    return Raw("{ " + " ".join(f"{name.replace('_', '-')} = {_literal(value)}" for name, value in settings.items()) + " }")


def template(value):
    """A JSON value as the text of a template."""
    return json.dumps(value, ensure_ascii=False)
