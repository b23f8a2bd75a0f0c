"""The life of a comment through python-gitlab, unchanged. One command, from anywhere:

    python3 sandbox/tests/python_gitlab/notes.py

It needs Python 3.10 or newer with venv and pip, cargo, and the toolchain that `cargo xtask sandbox up` has installed once.
The library goes into a folder below `target`, in the versions of requirements.txt; a separate sandbox is
built, started on a free port, and ended.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TOKENS = [
    {"token": "bot", "kind": "project", "project": 12},
    {"token": "ann", "kind": "personal", "user": "ann", "role": "developer"},
    {"token": "reads", "kind": "read_api", "user": "ann"},
    {"token": "job", "kind": "job", "user": "ann", "project": 12},
]


def main() -> None:
    """Installs, starts the sandbox, and runs this file again with the library."""
    folder = ROOT / "target/python-gitlab"
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", HERE / "requirements.txt"], check=True)
    build = ["cargo", "build", "--quiet", "--package", "sandbox", "--message-format=json"]
    built = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    program = next(found for line in built.splitlines() if (found := json.loads(line).get("executable")))
    with tempfile.TemporaryDirectory() as state:
        # No Worker runs here, so Bun need not be there.
        arguments = [program, "serve", "--state", state, "--account-id", "0" * 32, "--port", "0"]
        arguments += ["--gitlab-root", "/gitlab", "--bun", "bun", "--toolchain", ROOT / "dagger/cloudflare/toolchain"]
        variables = {**os.environ, "SANDBOX_TOKEN": "sandbox", "SANDBOX_GITLAB_TOKENS": json.dumps(TOKENS)}
        server = subprocess.Popen(arguments, env=variables, stdout=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port(server, Path(state) / 'server.json')}"
            subprocess.run([python, __file__], check=True, env={**os.environ, "SANDBOX_URL": url})
        finally:
            server.terminate()
            server.wait()


def port(server: "subprocess.Popen[bytes]", file: Path) -> int:
    """The sandbox's, once it serves."""
    for _ in range(200):
        if server.poll() is not None:
            sys.exit(f"the sandbox ended with {server.returncode}")
        if file.exists() and (announcement := json.loads(file.read_text() or "{}")).get("pid") == server.pid:
            return int(announcement["port"])
        time.sleep(0.1)
    sys.exit("the sandbox does not start")


def client(url: str) -> None:
    """What people do with the library."""
    import gitlab

    def connected(token: str, **more: bool) -> "gitlab.Gitlab":
        return gitlab.Gitlab(f"{url}/gitlab", private_token=token, **more)

    def refused(status: int, work: "object", *arguments: object, **named: object) -> None:
        try:
            work(*arguments, **named)  # type: ignore[operator]
        except gitlab.exceptions.GitlabError as error:
            assert error.response_code == status, (error.response_code, status, error)
            return
        raise AssertionError(f"not refused with {status}: {work}")

    ann = connected("ann")
    ann.auth()
    assert ann.user.username == "ann"
    project = ann.projects.get(12, lazy=True)
    opened = {"source_branch": "feature", "target_branch": "main", "title": "A preview"}
    request = project.mergerequests.create(opened)
    again = ann.projects.get("sandbox/project-12", lazy=True).mergerequests.get(request.iid)
    assert again.title == "A preview" and again.state == "opened", again

    bot = connected("bot")
    bot.auth()
    notes = bot.projects.get(12, lazy=True).mergerequests.get(request.iid, lazy=True).notes
    for number in range(1, 46):
        notes.create({"body": f"note {number}"})
    found = notes.list(iterator=True, sort="asc", order_by="created_at", per_page=20)
    assert [note.body for note in found] == [f"note {number}" for number in range(1, 46)]
    assert (found.total, found.total_pages, found.per_page) == (45, 3, 20), found
    page = notes.list(page=2, per_page=20, sort="asc")
    assert len(page) == 20 and all(note.author["id"] == bot.user.id and not note.system for note in page)

    note = notes.get(page[0].id)
    note.body = "edited | twice"
    note.save()
    assert notes.get(note.id).body == "edited | twice"
    note.delete()
    refused(404, notes.get, note.id)
    assert len(notes.list(get_all=True)) == 44

    reads = connected("reads").projects.get(12, lazy=True).mergerequests.get(request.iid, lazy=True).notes
    assert len(reads.list(get_all=True)) == 44
    refused(403, reads.create, {"body": "hello"})
    job = gitlab.Gitlab(f"{url}/gitlab", job_token="job")
    own = job.projects.get(12, lazy=True).mergerequests.get(request.iid, lazy=True).notes
    assert len(own.list(get_all=True)) == 44
    refused(401, own.create, {"body": "hello"})
    refused(401, connected("nobody").auth)
    refused(400, notes.create, {"body": "x" * 1_000_001})

    throttle(url, {"throttled": 1, "retry_after": 1})
    refused(429, connected("ann", retry_transient_errors=False).http_get, "/user", obey_rate_limit=False)
    throttle(url, {"throttled": 1, "retry_after": 1})
    started = time.monotonic()
    assert ann.http_get("/user")["username"] == "ann" and time.monotonic() - started >= 1, "it waits"

    made = {"environment": "production", "sha": "a" * 40, "ref": "main", "tag": False, "status": "success"}
    deployment = project.deployments.create(made)
    newest = project.deployments.list(environment="production", order_by="id", sort="desc", per_page=1, page=1)
    assert newest[0].id == deployment.id
    (environment,) = project.environments.list(name="production", get_all=True)
    environment.stop()
    assert project.environments.get(environment.id).state == "stopped"
    again.state_event = "close"
    again.save()
    assert project.mergerequests.get(request.iid).state == "closed"
    print(f"python-gitlab {gitlab.__version__} works unchanged")


def throttle(url: str, what: "dict[str, int]") -> None:
    """Tells the sandbox to refuse the next request."""
    headers = {"Authorization": "Bearer sandbox", "Content-Type": "application/json"}
    body = json.dumps(what).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/__sandbox/gitlab", body, headers, method="PUT")).close()


if __name__ == "__main__":
    sandbox = os.environ.get("SANDBOX_URL")
    client(sandbox) if sandbox else main()
