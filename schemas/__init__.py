"""The contracts, data only. A package so that they are found alike in a checkout, a wheel and a zip."""
