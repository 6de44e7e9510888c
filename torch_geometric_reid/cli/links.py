from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.pipeline import Comparison


def print_links(comparison: Comparison) -> None:
    r"""Prints what is to be known of the learned links: how far training images and
    gallery are apart, what was done about it, and how far to trust a probability.
    """
    links = comparison.links
    rows: list[dict[str, str | float]] = [
        {'graph': name, **statistics._asdict()}
        for name, statistics in links.statistics.items()
    ]
    if rows:
        print(f'# label-free statistics of the graphs\n{format_table(rows)}')
    if links.degradation is not None:
        dims, noise, step = links.degradation
        print(f'# degradation: {dims} dimensions, noise {noise:.2f}, step {step:.2f}')
    weights = ', '.join(f'{w:.2f}' for w in links.mixture.whole.tolist())
    first = ', '.join(f'{w:.2f}' for w in links.mixture.first.tolist())
    print(f'# weights of new features, old features, links, profiles: {weights}')
    print(f'# the same for the first place: {first}')
    print(
        f'# expected calibration error of a link: {comparison.calibration_error:.3f}\n'
    )
