"""The ``renkei`` command line; ``python -m fhir_server`` is the same."""

import sys


def main() -> None:
    """Run a command. The server's own processes take a short cut past everything that only people need."""
    if sys.argv[1:2] == ["worker"]:
        from fhir_server.serving import worker

        sys.exit(worker.main(sys.argv[1:]))
    if sys.argv[1:2] == ["feeds"]:
        from fhir_server.serving import feeds

        sys.exit(feeds.main(sys.argv[1:]))
    if sys.argv[1:2] == ["imaging"]:
        from fhir_server.serving import imaging

        sys.exit(imaging.main(sys.argv[1:]))
    from fhir_server.commands import application

    application.run()


if __name__ == "__main__":
    main()
