"""Downloads a source archive with the index, certificates and credentials that pip is configured with.

`pip download` of a source archive runs its setup.py. pip's own finder and session do not, but have internal names
(pip 23.2 to 26.3): they are used in a process of its own, whose failure is one message. Run as
`python -m tunefront.bench.data.archives.source_download PROJECT FILENAME DESTINATION`.
"""

from __future__ import annotations

import shutil
import sys


def main(project: str, filename: str, destination: str) -> str | None:
    """Writes the file of that name to `destination`; the reason where that fails."""
    from pip._internal.commands import create_command

    command = create_command("download")
    options, _ = command.parse_args(["--no-deps", "--no-input", "--disable-pip-version-check", project])
    with command.main_context():
        session = command.get_default_session(options)  # type: ignore[attr-defined]
        finder = command._build_package_finder(options=options, session=session)  # type: ignore[attr-defined]
        finder.format_control.disallow_binaries()
        links = [candidate.link for candidate in finder.find_all_candidates(project)]
        link = next((link for link in links if link.filename == filename), None)
        if link is None:
            return f"the package index has no {filename} (files of {project} found: {len(links)})"
        answer = session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True)
        answer.raise_for_status()
        with open(destination, "xb") as file:
            shutil.copyfileobj(answer.raw, file)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
