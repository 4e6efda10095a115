"""The 42 columns of Census-Income (KDD), in file order, and the values of those that are labels."""

COLUMNS = (
    "age",
    "class_worker",
    "det_ind_code",
    "det_occ_code",
    "education",
    "wage_per_hour",
    "hs_college",
    "marital_stat",
    "major_ind_code",
    "major_occ_code",
    "race",
    "hisp_origin",
    "sex",
    "union_member",
    "unemp_reason",
    "full_or_part_emp",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "tax_filer_stat",
    "region_prev_res",
    "state_prev_res",
    "det_hh_fam_stat",
    "det_hh_summ",
    "instance_weight",
    "mig_chg_msa",
    "mig_chg_reg",
    "mig_move_reg",
    "mig_same",
    "mig_prev_sunbelt",
    "num_emp",
    "fam_under_18",
    "country_father",
    "country_mother",
    "country_self",
    "citizenship",
    "own_or_self",
    "vet_question",
    "vet_benefits",
    "weeks_worked",
    "year",
    "income_50k",
)

NUMERIC = (
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "instance_weight",
    "num_emp",
    "weeks_worked",
)
"""Columns that hold quantities, none of them negative. The codes that look numeric (industry,
occupation, own_or_self, vet_benefits, year) are categories."""

CATEGORICAL = tuple(name for name in COLUMNS if name not in NUMERIC)

SOME_COLLEGE = "Some college but no degree"
DEGREES = (
    "Associates degree-occup /vocational",
    "Associates degree-academic program",
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
NEVER_MARRIED = "Never married"
INCOME_ABOVE_50K = "50000+"

LABEL_VALUES = {
    "education": (
        "Children",
        "Less than 1st grade",
        "1st 2nd 3rd or 4th grade",
        "5th or 6th grade",
        "7th and 8th grade",
        "9th grade",
        "10th grade",
        "11th grade",
        "12th grade no diploma",
        "High school graduate",
        SOME_COLLEGE,
        *DEGREES,
    ),
    "marital_stat": (
        NEVER_MARRIED,
        "Married-civilian spouse present",
        "Married-spouse absent",
        "Married-A F spouse present",
        "Separated",
        "Divorced",
        "Widowed",
    ),
    "income_50k": ("- 50000", INCOME_ABOVE_50K),
}
"""Every value of the columns that labels are made from: a value that is not listed would silently
count as a negative, so it is refused."""
