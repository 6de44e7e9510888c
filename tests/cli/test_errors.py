import pytest

from torch_geometric_reid.cli.main import main
from torch_geometric_reid.cli.options import add_config, new_parser

RUN = ['run', '--train', 'a.npz', '--query', 'b.npz', '--gallery', 'c.npz']


@pytest.fixture(scope='module')
def parse():
    parser = new_parser('')
    parser.prog = 'tg-reid'
    add_config(parser, 'small')
    return parser.parse_args


def complain(parse, argv, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(argv)
    assert stop.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith('tg-reid: error: ')
    assert second.startswith('all options: tg-reid')
    assert second.endswith('--help')
    return first.removeprefix('tg-reid: error: ')


@pytest.mark.parametrize(
    ('wrong', 'nearest'),
    [
        ('--fa.kk', '--fa.k'),
        ('--ec.hidden', '--ec.hidden_channels'),
        ('--links.num_probe', '--links.num_probes'),
        ('--rank.graf', '--rank.graph'),
        ('--quite', '--quiet'),
    ],
)
@pytest.mark.parametrize('joined', [True, False])
def test_a_misspelt_option_has_a_nearest_right_name(
    wrong, nearest, joined, parse, capsys
):
    given = [f'{wrong}=3'] if joined else [wrong, '3']
    error = complain(parse, given, capsys)
    assert error == f"there is no option '{wrong}' (did you mean '{nearest}'?)"


def test_nothing_is_near_what_is_no_option(parse, capsys):
    assert complain(parse, ['--zzz'], capsys) == "there is no option '--zzz'"


@pytest.mark.parametrize(
    ('option', 'value', 'needed'),
    [
        ('fa.k', 'many', 'a whole number'),
        ('fa.k', '', 'a whole number'),
        ('ec.loss', 'hinge', "one of 'focal', 'ce'"),
        ('ec.num_neighbors', '[1]', 'a list of 2 values'),
        ('links.lr', 'fast', 'a number'),
        ('links.degrade', 'maybe', 'true or false'),
        ('links.weights', '[1]', 'a list of 4 values or null'),
        ('rank.graph', 'all', "one of 'probe', 'gallery', 'joint' or null"),
        ('seed', '1.5', 'a whole number'),
        ('fa', '3', "options of its own, as '--fa.NAME VALUE', or null"),
    ],
)
def test_a_wrong_value(option, value, needed, parse, capsys):
    error = complain(parse, [f'--{option}={value}'], capsys)
    assert error == f"'--{option}' needs {needed} (got '{value}')"


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('fa: {kk: 3}', "there is no option '--fa.kk' (did you mean '--fa.k'?)"),
        (
            'links: {kk: 3}',
            "there is no option '--links.kk' (did you mean '--links.k'?)",
        ),
        ('fa: {k: many}', "'--fa.k' needs a whole number (got 'many')"),
        ('links: {lr: fast}', "'--links.lr' needs a number (got 'fast')"),
    ],
)
def test_a_file_of_options(tmp_path, text, error, capsys):
    (tmp_path / 'options.yaml').write_text(text)
    given = [*RUN, '--config', str(tmp_path / 'options.yaml')]
    assert complain(main, given, capsys) == error


@pytest.mark.parametrize(
    ('argv', 'start', 'end'),
    [
        (['rerun'], "'subcommand' needs one of demo, run,", "(did you mean 'run'?)"),
        (['experiment', 'tabl2'], "'name' needs one of", "(did you mean 'table2'?)"),
        ([*RUN, '--preset=papr'], "'--preset' needs one of", "(did you mean 'paper'?)"),
        (
            [*RUN, '--fa.kk=1'],
            "there is no option '--fa.kk'",
            "(did you mean '--fa.k'?)",
        ),
        (['experiment', 'k', '--seeds=0'], "'--seeds': Not of type Pos", 'v>0'),
        (['run', '--train=a'], 'the following', 'required: run.query, run.gallery'),
    ],
)
def test_commands(argv, start, end, capsys):
    error = complain(main, argv, capsys)
    assert error.startswith(start)
    assert error.endswith(end)


def test_a_value_out_of_range(capsys):
    assert main([*RUN, '--links.num_edges=0']) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "tg-reid: error: 'links.num_edges' needs to be an integer of"
    )
    assert error.count('\n') == 1
