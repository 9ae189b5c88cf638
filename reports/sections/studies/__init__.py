"""The studies of a report: ablations and other protocols, each a section with tables and figures."""
