"""The vocabulary every room shares: values, ports and the one error. Standard library and msgspec only."""
