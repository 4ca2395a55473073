"""The currencies of ISO 4217, and which of them a site can sell in.

From list one ("current currency and funds") of the standard's maintenance agency, as of 2026:
https://www.six-group.com/en/products-services/financial-information/data-standards.html
"""

# Decimals of an amount ("minor units").
# fmt: off
WITHOUT_DECIMALS = {
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF",
    "XPF",
}
WITH_TWO = {
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD", "BND", "BOB",
    "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CUP", "CVE", "CZK",
    "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ",
    "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD",
    "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR",
    "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP",
    "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS",
    "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH",
    "USD", "UYU", "UZS", "VED", "VES", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG",
}
# Our money is numeric(10,2), so nothing can be sold in these.
WITH_THREE = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
WITH_FOUR = {"CLF", "UYW"}
# Codes that nobody pays a ticket with: funds, units of account, metals, tests, and "no currency".
NOT_FOR_SALES = {
    "BOV", "CHE", "CHW", "COU", "MXV", "USN", "UYI", "XAD", "XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR",
    "XPD", "XPT", "XSU", "XTS", "XUA", "XXX",
}
# fmt: on

DECIMALS = {
    **dict.fromkeys(WITHOUT_DECIMALS, 0),
    **dict.fromkeys(WITH_TWO, 2),
    **dict.fromkeys(WITH_THREE, 3),
    **dict.fromkeys(WITH_FOUR, 4),
}


def why_not(code: str) -> str | None:
    """Why a site cannot sell in this currency, and what to do, as the end of a sentence; None if it can."""
    if code in WITHOUT_DECIMALS | WITH_TWO:
        return None
    if code in DECIMALS:
        return (
            f"has amounts with {DECIMALS[code]} decimals, and TicketBook keeps two. Set it to a currency "
            "with two decimals or none, like USD or JPY."
        )
    if code in NOT_FOR_SALES:
        return (
            "is a code for funds, metals or tests. Set it to the currency of your prices, like USD."
        )
    if (right := code.strip().upper()) in DECIMALS:
        return f"is not spelt as in ISO 4217. Set it to {right}."
    return "is not a currency of ISO 4217. Set it to the code of one that is in use, like USD."
