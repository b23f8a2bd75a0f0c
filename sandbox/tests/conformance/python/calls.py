"""Calls of Python's `cloudflare` and `python-gitlab` against a sandbox. Prints one JSON line a call."""

import base64
import hashlib
import io
import json
import os
import sys

import cloudflare
import gitlab

ACCOUNT = os.environ["ACCOUNT"]
URL = os.environ["SANDBOX_URL"]
CODE = b"export default { fetch: () => new Response('hi'), queue() {} }"


def report(client, name, call):
    """Runs a call and prints its outcome."""
    try:
        call()
        line = {"client": client, "call": name, "passed": True}
    except Exception as error:  # noqa: BLE001: any failure is a line of the report
        line = {"client": client, "call": name, "passed": False, "why": f"{type(error).__name__}: {error}"}
    print(json.dumps(line), flush=True)


def refused(kind, call):
    """Expects a refusal of this kind."""
    try:
        call()
    except kind:
        return
    raise AssertionError("it was not refused")


def same(found, wanted):
    """Expects two values to be the same."""
    assert found == wanted, f"{found!r} is not {wanted!r}"


def cloudflare_calls():
    """Every answer is compared with the types of the library."""
    api = cloudflare.Cloudflare(
        api_token=os.environ["SANDBOX_TOKEN"], base_url=f"{URL}/client/v4", max_retries=0,
        _strict_response_validation=True,
    )
    scripts, account = api.workers.scripts, {"account_id": ACCOUNT}
    kept = {}

    def upload(name, **fields):
        metadata = {"main_module": "main.js", "compatibility_date": "2026-01-01", **fields}
        files = [("main.js", io.BytesIO(CODE), "application/javascript+module")]
        return scripts.update(name, metadata=metadata, files=files, **account)

    def namespace():
        kept["kv"] = api.kv.namespaces.create(title="python", **account).id

    def value():
        api.kv.namespaces.values.update("key", namespace_id=kept["kv"], value=b"one", metadata="{}", **account)
        same(api.kv.namespaces.values.get("key", namespace_id=kept["kv"], **account).read(), b"one")

    def database():
        kept["d1"] = api.d1.database.create(name="python", **account).uuid

    def query():
        found = list(api.d1.database.query(kept["d1"], sql="SELECT 1 AS one", **account))
        same(found[0].results, [{"one": 1}])

    def queue():
        kept["queue"] = api.queues.create(queue_name="python", **account).queue_id

    def bucket():
        same(api.r2.buckets.create(name="python", **account).location, "weur")

    def binding():
        upload("python", bindings=[{"type": "kv_namespace", "name": "KV", "namespace_id": kept["kv"]}])

    def missing():
        upload("python", bindings=[{"type": "kv_namespace", "name": "KV", "namespace_id": "0" * 32}])

    def secret():
        scripts.secrets.update("python", name="SECRET", text="hush", type="secret_text", **account)
        same([one.name for one in scripts.secrets.list("python", **account)], ["SECRET"])

    def rollback():
        versions = list(scripts.versions.list("python", **account))
        oldest = [{"percentage": 100, "version_id": versions[-1].id}]
        scripts.deployments.create("python", strategy="percentage", versions=oldest, **account)
        live = api.get(f"/accounts/{ACCOUNT}/workers/scripts/python/deployments", cast_to=object)
        same(live["result"]["deployments"][0]["versions"][0]["version_id"], versions[-1].id)

    def schedules():
        scripts.schedules.update("python", body=[{"cron": "0 * * * *"}], **account)
        same(scripts.schedules.get("python", **account).schedules[0].cron, "0 * * * *")

    def worker():
        found = api.workers.beta.workers.get("python", **account)
        kept["id"] = found.id
        same((found.name, found.logpush), ("python", True))

    def settings():
        scripts.settings.edit("python", logpush=True, **account)
        same(scripts.settings.get("python", **account).logpush, True)

    def tail():
        made = scripts.tail.create("python", **account)
        same(scripts.tail.get("python", **account).id, made.id)
        same(made.url.startswith("ws"), True)
        scripts.tail.delete(made.id, script_name="python", **account)

    def assets():
        page = b"<h1>page</h1>"
        # By SHA-256, as the guide to direct uploads does.
        name = hashlib.sha256(page).hexdigest()[:32]
        manifest = {"/index.html": {"hash": name, "size": len(page)}}
        session = scripts.assets.upload.create("python", manifest=manifest, **account)
        same(session.buckets, [[name]])
        done = api.workers.assets.upload.create(
            base64=True, body={name: base64.b64encode(page).decode()},
            extra_headers={"Authorization": f"Bearer {session.jwt}"}, **account,
        )
        same(bool(done.jwt), True)
        same(scripts.assets.upload.create("python", manifest=manifest, **account).buckets, [])

    def observability():
        scripts.script_and_version_settings.edit(
            "python", settings={"observability": {"enabled": True}, "tags": ["team"]}, **account)
        found = scripts.script_and_version_settings.get("python", **account)
        same((found.observability.enabled, found.tags), (True, ["team"]))

    def consumer():
        api.queues.consumers.create(kept["queue"], type="worker", script_name="python", **account)
        found = list(api.queues.consumers.list(kept["queue"], **account))
        same([one.script for one in found], ["python"])
        api.queues.consumers.delete(found[0].consumer_id, queue_id=kept["queue"], **account)

    def messages():
        made = api.queues.consumers.create(kept["queue"], type="http_pull", **account)
        api.queues.messages.push(kept["queue"], body={"n": 1}, content_type="json", **account)
        api.queues.messages.bulk_push(kept["queue"], messages=[{"body": "two", "content_type": "text"}], **account)
        found = api.queues.messages.pull(kept["queue"], batch_size=10, **account)
        found = found.messages if hasattr(found, "messages") else list(found)
        same([base64.b64decode(found[0].body), found[1].body], [b'{"n":1}', "two"])
        leases = [{"lease_id": one.lease_id} for one in found]
        same(api.queues.messages.ack(kept["queue"], acks=leases[:1], retries=leases[1:], **account).ack_count, 1)
        same(api.queues.purge.start(kept["queue"], delete_messages_permanently=True, **account).queue_name, "python")
        same(bool(api.queues.purge.status(kept["queue"], **account).started_at), True)
        api.queues.consumers.delete(made.consumer_id, queue_id=kept["queue"], **account)

    def zone():
        found = list(api.zones.list(name="example.com"))[0]
        same(api.zones.get(zone_id=found.id).name, "example.com")

    def account_settings():
        api.workers.account_settings.update(green_compute=True, **account)
        same(api.workers.account_settings.get(**account).green_compute, True)

    def objects():
        code = b"import { DurableObject } from 'cloudflare:workers'; export class Room extends DurableObject {} export default { fetch: () => new Response() }"
        metadata = {"main_module": "main.js", "compatibility_date": "2026-01-01", "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Room"]}}
        scripts.update("rooms", metadata=metadata, files=[("main.js", io.BytesIO(code), "application/javascript+module")], **account)
        found = list(api.durable_objects.namespaces.list(**account))
        same([one.class_ for one in found], ["Room"])
        same(list(api.durable_objects.namespaces.objects.list(found[0].id, **account)), [])

    def duplicate():
        binding = {"type": "plain_text", "name": "A", "text": "1"}
        upload("python", bindings=[binding, binding])

    for name, call in [
        ("user.get", lambda: api.user.get()),
        ("user.tokens.verify", lambda: api.user.tokens.verify()),
        ("accounts.list", lambda: list(api.accounts.list())),
        ("memberships.list", lambda: list(api.memberships.list())),
        ("workers.scripts.update", lambda: same(upload("python").id, "python")),
        ("workers.scripts.list", lambda: same([one.id for one in scripts.list(**account)], ["python"])),
        ("workers.scripts.get", lambda: same("fetch" in scripts.get("python", **account), True)),
        ("workers.scripts.update, refused", lambda: refused(cloudflare.BadRequestError, missing)),
        ("kv.namespaces.create", namespace),
        ("kv.namespaces.list", lambda: same(len(list(api.kv.namespaces.list(**account))), 1)),
        ("kv.namespaces.values", value),
        ("kv.namespaces.keys.list", lambda: same([one.name for one in api.kv.namespaces.keys.list(kept["kv"], **account)], ["key"])),
        ("d1.database.create", database),
        ("d1.database.list", lambda: same(len(list(api.d1.database.list(**account))), 1)),
        ("d1.database.query", query),
        ("r2.buckets.create", bucket),
        ("r2.buckets.list", lambda: same(len(api.r2.buckets.list(**account).buckets), 1)),
        ("queues.create", queue),
        ("queues.list", lambda: same(len(list(api.queues.list(**account))), 1)),
        ("workers.scripts.update with a binding", binding),
        ("workers.scripts.secrets", secret),
        ("workers.scripts.versions.list and deployments", rollback),
        ("workers.scripts.schedules", schedules),
        ("workers.scripts.subdomain", lambda: same(scripts.subdomain.create("python", enabled=True, **account).enabled, True)),
        ("workers.scripts.settings", settings),
        ("workers.beta.workers.get", worker),
        ("workers.scripts.content.get", lambda: same(b"fetch" in scripts.content.get("python", **account).read(), True)),
        ("workers.scripts.tail", tail),
        ("workers.scripts.assets.upload and assets.upload", assets),
        ("workers.scripts.script_and_version_settings", observability),
        ("workers.scripts.update, a name twice", lambda: refused(cloudflare.BadRequestError, duplicate)),
        ("workers.scripts.schedules, refused", lambda: refused(cloudflare.BadRequestError, lambda: scripts.schedules.update("python", body=[{"cron": "0 0 * * 8"}], **account))),
        ("workers.beta.workers.versions.list", lambda: same(len(list(api.workers.beta.workers.versions.list(kept["id"], **account))) > 1, True)),
        ("workflows.list", lambda: same(list(api.workflows.list(**account)), [])),
        ("queues.consumers", consumer),
        ("queues.messages and queues.purge", messages),
        ("queues.get", lambda: same(api.queues.get(kept["queue"], **account).queue_name, "python")),
        ("workers.beta.workers.list", lambda: list(api.workers.beta.workers.list(**account))),
        ("workers.domains.update", lambda: api.workers.domains.update(hostname="a.example.com", service="python", zone_id="0" * 32, **account)),
        ("workers.domains.list", lambda: same(len(list(api.workers.domains.list(**account))), 1)),
        ("workers.subdomains.get", lambda: same(api.workers.subdomains.get(**account).subdomain, "sandbox")),
        ("zones.list", lambda: same([one.name for one in api.zones.list(name="example.com")], ["example.com"])),
        ("zones.get", zone),
        ("workers.account_settings", account_settings),
        ("durable_objects.namespaces", objects),
        ("workers.scripts.delete", lambda: scripts.delete("python", **account)),
        ("queues.delete", lambda: api.queues.delete(kept["queue"], **account)),
        ("d1.database.delete", lambda: api.d1.database.delete(kept["d1"], **account)),
        ("r2.buckets.delete", lambda: api.r2.buckets.delete("python", **account)),
        ("kv.namespaces.delete", lambda: api.kv.namespaces.delete(kept["kv"], **account)),
        ("workers.scripts.get, missing", lambda: refused(cloudflare.NotFoundError, lambda: scripts.settings.get("python", **account))),
    ]:
        report("cloudflare (Python)", name, call)


def gitlab_calls():
    """The calls that tools around merge requests make."""
    api = gitlab.Gitlab(URL, private_token=os.environ["GITLAB_TOKEN"], retry_transient_errors=False)
    project = api.projects.get(12, lazy=True)
    kept = {}

    def create():
        kept["mr"] = project.mergerequests.create({"title": "Draft: a", "source_branch": "a", "target_branch": "main"})

    def note():
        made = kept["mr"].notes.create({"body": "hello"})
        made.body = "again"
        made.save()
        same([one.body for one in kept["mr"].notes.list(get_all=True)], ["again"])

    def same_branch():
        project.mergerequests.create({"title": "b", "source_branch": "main", "target_branch": "main"})

    def deploy():
        body = {"environment": "production", "sha": "a" * 40, "ref": "main", "tag": False, "status": "running"}
        made = project.deployments.create(body)
        made.status = "success"
        made.save()

    def fields():
        found = project.mergerequests.get(kept["mr"].iid)
        same((found.diff_refs["head_sha"], found.head_pipeline, found.merge_commit_sha, found.milestone), (found.sha, None, None, None))

    def filters():
        def found(**by):
            return len(project.mergerequests.list(get_all=True, **by))
        kept["mr"].labels = ["ci", "site"]
        kept["mr"].save()
        author = project.mergerequests.get(kept["mr"].iid).author
        same([found(labels="ci,site"), found(labels="ci,other"), found(search="nothing")], [1, 0, 0])
        same([found(author_id=author["id"]), found(author_username="somebody-else")], [2, 0])
        same([found(created_after="2000-01-01T00:00:00Z"), found(created_before="2000-01-01T00:00:00Z")], [2, 0])

    def merge(sha):
        made = project.mergerequests.create({"title": "c", "source_branch": "c", "target_branch": "main"})
        project.mergerequests.get(made.iid).merge(sha=sha)

    def empty():
        project.mergerequests.update(kept["mr"].iid, {})

    def close():
        kept["mr"].state_event = "close"
        kept["mr"].save()
        same(project.mergerequests.get(kept["mr"].iid).state, "closed")

    def environment():
        found = project.environments.list(name="production", get_all=True)[0]
        found.stop()
        same(project.environments.get(found.id).state, "stopped")

    def commits():
        found = list(kept["mr"].commits())
        same([one.title for one in found], ["Change"])
        same([one["new_path"] for one in kept["mr"].changes()["changes"]], ["a.txt"])
        versions = kept["mr"].diffs.list(get_all=True)
        same([one.head_commit_sha for one in versions], [found[0].id])
        same(len(kept["mr"].diffs.get(versions[0].id).diffs), 1)

    def people():
        same([one["username"] for one in kept["mr"].participants()], [kept["mr"].author["username"]])
        same(list(kept["mr"].closes_issues()), [])

    def commit():
        found = project.commits.get("a")
        same((found.title, found.stats["additions"], found.last_pipeline), ("Change", 1, None))
        same([found.statuses.list(get_all=True), found.comments.list(get_all=True)], [[], []])
        same(found.diff()[0]["diff"], "@@ -1 +1 @@\n-one\n+two\n")

    def compare():
        found = project.repository_compare("main", "a")
        same((found["commit"]["title"], len(found["diffs"])), ("Change", 1))

    def file():
        found = project.files.get(file_path="a.txt", ref="a")
        same((found.decode(), project.files.raw(file_path="a.txt", ref="main")), (b"two\n", b"one\n"))

    for name, call in [
        ("auth", api.auth),
        ("version", lambda: same(api.version()[0].split(".")[0], "18")),
        ("mergerequests.create", create),
        ("projects.get", lambda: same(api.projects.get(12).id, 12)),
        ("mergerequests.create, refused", lambda: refused(gitlab.GitlabCreateError, same_branch)),
        ("mergerequests.list", lambda: same(len(project.mergerequests.list(state="opened", wip="yes", search="draft", get_all=True)), 1)),
        ("mergerequests.get", fields),
        ("mergerequests.update, empty", lambda: refused(gitlab.GitlabUpdateError, empty)),
        ("mergerequests.merge, another sha", lambda: refused(gitlab.GitlabMRClosedError, lambda: merge("f" * 40))),
        ("commits.statuses, unknown route", lambda: refused(gitlab.GitlabError, lambda: project.commits.list(get_all=True))),
        ("pipelines.list of the project", lambda: same(project.pipelines.list(get_all=True), [])),
        ("mergerequests.list, unknown filter", lambda: refused(gitlab.GitlabError, lambda: project.mergerequests.list(approver_ids=1, get_all=True))),
        ("notes", note),
        ("discussions.list", lambda: same(len(kept["mr"].discussions.list(get_all=True)), 1)),
        ("mergerequests.list, filters", filters),
        ("approvals.get", lambda: same(kept["mr"].approvals.get().approved, False)),
        ("pipelines.list", lambda: same(kept["mr"].pipelines.list(get_all=True), [])),
        ("jobs.list", lambda: same(project.jobs.list(get_all=True), [])),
        ("mergerequests.commits, changes and diffs", commits),
        ("mergerequests.participants and closes_issues", people),
        ("commits.get", commit),
        ("repository_compare", compare),
        ("files", file),
        ("branches", lambda: same([one.name for one in project.branches.list(get_all=True)], ["a", "main"])),
        ("projects.list", lambda: same([one.id for one in api.projects.list(membership=True, get_all=True)], [12])),
        ("deployments", deploy),
        ("environments", environment),
        ("mergerequests.save", close),
        ("issues.list, unknown route", lambda: refused(gitlab.GitlabError, lambda: project.issues.list(get_all=True))),
    ]:
        report("python-gitlab", name, call)


if __name__ == "__main__":
    cloudflare_calls()
    gitlab_calls()
    sys.exit(0)
