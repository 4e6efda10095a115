"""How many seeds a paired comparison needs."""

import math

import scipy

from mtl.errors import InputError

MOST_SEEDS = 1e9
"""Beyond this many seeds a difference counts as out of reach."""


def paired_power(std_of_differences: float, difference: float, n: float, level: float = 0.05) -> float:
    """Power of the two-sided paired t-test: the chance that it finds a true difference.

    `P(|T| > t)` for T noncentral t with n − 1 degrees of freedom and noncentrality `√n δ / σ`, and t the
    upper level/2 point of the central t; computed as `P(T² > t²)`, a noncentral F.

    Args:
      std_of_differences: σ, standard deviation over seeds of the paired differences.
      difference: δ, the true mean difference, in the same unit.
      n: number of seeds.
      level: of the test, in (0, 1). With Holm over m comparisons, level / m is the safe choice.

    Returns:
      The power; NaN below two seeds or for NaN arguments.

    Raises:
      InputError: σ is negative or the level is not in (0, 1).

    Reference:
      Cohen, "Statistical Power Analysis for the Behavioral Sciences" (1988), chapter 2. A planning aid: the
      power at the difference that a study happened to find says nothing beyond its p-value (Hoenig &
      Heisey, "The Abuse of Power", The American Statistician 55, 2001).
    """
    _check(std_of_differences, level, (1 + level) / 2)
    if n < 2 or math.isnan(std_of_differences) or math.isnan(difference):
        return math.nan
    if std_of_differences == 0:
        return 1.0 if difference else level
    t = float(scipy.special.stdtrit(n - 1, 1 - level / 2))
    # The power is 1 long before 10⁶, and SciPy gives NaN far beyond it.
    centre = min(math.sqrt(n) * abs(difference) / std_of_differences, 1e6)
    # T² and not T: SciPy 1.17's noncentral t is NaN in its far tail, already for a noncentrality of 3.
    return float(1 - scipy.special.ncfdtr(1, n - 1, centre**2, t**2))


def seeds_needed(
    std_of_differences: float, difference: float, power: float = 0.8, level: float = 0.05
) -> float:
    """Smallest number of seeds with which the paired t-test finds a difference.

    Args:
      std_of_differences: standard deviation over seeds of the paired differences.
      difference: the true mean difference that matters, in the same unit.
      power: chance to find it, in (level, 1).
      level: of the test, in (0, 1).

    Returns:
      A whole number ≥ 2; infinite for a difference of 0 or above 10⁹ seeds, NaN for NaN arguments.

    Raises:
      InputError: the standard deviation is negative, or power or level out of range.

    Reference:
      As `paired_power`.
    """
    _check(std_of_differences, level, power)
    if math.isnan(std_of_differences) or math.isnan(difference):
        return math.nan
    if difference == 0:
        return math.inf
    effect = abs(difference) / std_of_differences if std_of_differences else math.inf
    # The normal approximation, too small by a seed or two, starts the search.
    root = float(scipy.special.ndtri(1 - level / 2) + scipy.special.ndtri(power)) / effect
    if root**2 > MOST_SEEDS:
        return math.inf
    few, many = 1, max(2, math.ceil(root**2))
    while paired_power(std_of_differences, difference, many, level) < power:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        if paired_power(std_of_differences, difference, middle, level) < power:
            few = middle
        else:
            many = middle
    return float(many)


def detectable_difference(
    std_of_differences: float, n: float, power: float = 0.8, level: float = 0.05
) -> float:
    """Smallest true difference that the paired t-test finds with n seeds.

    Args:
      std_of_differences: standard deviation over seeds of the paired differences.
      n: number of seeds.
      power: chance to find it, in (level, 1).
      level: of the test, in (0, 1).

    Returns:
      The difference, in the unit of the standard deviation; NaN below two seeds.

    Raises:
      InputError: the standard deviation is negative, or power or level out of range.

    Reference:
      As `paired_power`.
    """
    _check(std_of_differences, level, power)
    if n < 2 or math.isnan(std_of_differences):
        return math.nan

    def shortfall(effect: float) -> float:
        return paired_power(1.0, effect, n, level) - power

    largest = 1.0
    while shortfall(largest) < 0:
        largest *= 2
    return std_of_differences * float(scipy.optimize.brentq(shortfall, 0.0, largest, xtol=1e-14, rtol=1e-12))


def _check(std: float, level: float, power: float) -> None:
    if std < 0:
        raise InputError(f"std_of_differences is {std}, expected a number that is not negative")
    if not 0 < level < power < 1:
        raise InputError(f"level is {level} and power {power}, expected 0 < level < power < 1")
