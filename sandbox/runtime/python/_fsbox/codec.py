"""JSON as Lambda's runtime for Python reads and writes it.

The json module is C behind a face that imports re, enum and some more, which is a third of a start. So its C is called
directly; whatever that has no simple answer for, errors above all, goes to the module itself. Answers have text as it is, not
escaped, and Decimals with all their digits.
"""

import sys

try:
    import _json

    _scanstring = _json.encode_basestring, _json.encode_basestring_ascii
except (ImportError, AttributeError):
    _json = None


class _Reading:
    """What the scanner asks for, with the json module's defaults."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"-Infinity": -float("inf"), "Infinity": float("inf"), "NaN": float("nan")}.__getitem__


try:
    _scan = _json.make_scanner(_Reading)
except (AttributeError, TypeError):
    _scan = None


_BLANK = " \t\n\r"


def loads(data):
    """Of UTF-8. Raises what the json module raises: ValueError, RecursionError."""
    text = data.decode()
    if _scan:
        try:
            value, end = _scan(text, 0)
            if end == len(text) or not text[end:].strip(_BLANK):
                return value
        except (StopIteration, ValueError):
            pass
    import json  # leading blanks, and the words of an error

    return json.loads(text)


class _Decimals:
    """Decimals are written as strings that no data contains, and those then replaced."""

    def __init__(self, fallback):
        self.mark, self.texts, self.fallback = "", [], fallback

    def __call__(self, value):
        decimal = sys.modules.get("decimal")
        if decimal and isinstance(value, decimal.Decimal):
            if value.is_nan():
                return float("nan")
            if not self.mark:
                import posix

                self.mark = "decimal-" + posix.urandom(16).hex() + "-"
            self.texts.append(str(value))
            return self.mark
        if self.fallback:
            return self.fallback(value)
        raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)

    def put(self, text):
        if not self.texts:
            return text
        parts = text.split('"%s"' % self.mark)
        whole = [parts[0]]
        for number, part in zip(self.texts, parts[1:]):
            whole += (number, part)
        return "".join(whole)


def _encode(value, ascii_only, fallback):
    decimals = _Decimals(fallback)
    encoder = None
    if _json:
        try:
            encoder = _json.make_encoder(
                {}, decimals, _scanstring[ascii_only], None, ": ", ", ", False, False, True
            )
        except TypeError:
            pass  # an interpreter with other habits
    if encoder:
        text = "".join(encoder(value, 0))
    else:
        import json

        text = json.dumps(value, ensure_ascii=ascii_only, default=decimals)
    return decimals.put(text)


def dumps(value, fallback=None):
    """As UTF-8. Raises what the json module raises. `fallback` makes something of what JSON has no form for."""
    try:
        return _encode(value, False, fallback).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only escapes can carry
        return _encode(value, True, fallback).encode()
