r"""What is wrong with the arguments, in one line."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

UNKNOWN = re.compile(
    r"unrecognized arguments: --([^\s=]+)|(?:Option|accept option) '([^']+)'"
)
CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)")
PLACE = re.compile(r'Parser key "([^"]+)":')
EXPECTED = re.compile(r'Expected an? (.+?)(?:\. Got value: .*)?$', re.MULTILINE)
GOT = re.compile(r'(?:Got|Given) value: (?!NestedArg)(.*)$', re.MULTILINE)
NULL = "<class 'NoneType'>"
WORDS = {
    "<class 'int'>": 'a whole number',
    "<class 'float'>": 'a number',
    "<class 'bool'>": 'true or false',
    "<class 'str'>": 'text',
    "<class 'list'>": 'a list as in [1,2]',
    "<class 'tuple'>": 'a list as in [1,2]',
    NULL: 'null',
}


def explain(message: str, names: Iterable[str]) -> str:
    r"""Returns the message of a parser in one line: the option, what it needs and
    what it got, and the nearest right name of one that is misspelt.

    Args:
        message (str): The message of :obj:`jsonargparse`, of any length.
        names (list): The options of the command, as in :obj:`"fa.k"`.

    Example:
        >>> explain('unrecognized arguments: --fa.kk 3', ['fa.k', 'ec.loss'])
        "there is no option '--fa.kk' (did you mean '--fa.k'?)"
        >>> message = 'Parser key "seed": Expected a <class \'int\'>. Got value: x'
        >>> explain(message, [])
        "'--seed' needs a whole number (got 'x')"
    """
    keys = list(dict.fromkeys(PLACE.findall(message)))
    place = '.'.join(keys)
    if unknown := UNKNOWN.search(message):
        name = '.'.join(filter(None, [place, *unknown.groups()]))
        near = _nearest(f'--{name}', [f'--{known}' for known in names])
        return f"there is no option '--{name}'{near}"
    if choice := CHOICE.search(message):
        option, given, listed = choice.groups()
        choices = listed.replace("'", '').split(', ')
        near = _nearest(given, choices)
        return f"'{option}' needs one of {', '.join(choices)} (got '{given}'){near}"
    expected = [text for text in EXPECTED.findall(message) if text != NULL]
    if NULL in message and len(keys) == 1:  # of two, the section may be null alone
        expected.append(NULL)
    got = GOT.findall(message)
    if place and expected and got:
        needed = ' or '.join(_words(place, text) for text in expected)
        return f"'--{place}' needs {needed} (got '{got[0]}')"
    rest = ' '.join(PLACE.sub('', message).split())
    return f"'--{place}': {rest}" if place else rest


def _nearest(given: str, known: list[str]) -> str:
    nearest = get_close_matches(given, known, n=1)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ''


def _words(place: str, expected: str) -> str:
    if expected.startswith('dot import path'):
        return f"options of its own, as '--{place}.NAME VALUE',"
    if expected.startswith('typing.Literal'):
        return f'one of {expected.partition("[")[2].rstrip("]")}'
    if expected.startswith('tuple with'):
        return f'a list of {expected.split()[2]} values'
    return WORDS.get(expected, f'a {expected}')
