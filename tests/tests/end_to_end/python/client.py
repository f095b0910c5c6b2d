"""The Kubernetes client for Python, unmodified, through its interfaces.

Takes the name of one function of this file and runs it against the cluster of $KUBECONFIG. What is
not as it should be ends it with an exception.
"""

import sys
import threading
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes.stream import portforward, stream

NAMESPACE = "default"
LIMIT_SECONDS = 60


def settings(name, colour, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "shop"}, **metadata},
        "data": {"colour": colour},
    }


def refused(status, reason, call, *args, **kwargs):
    """The call must be refused with this code and reason."""
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == status, error
        assert f'"reason":"{reason}"' in str(error.body).replace(": ", ":"), error
    else:
        raise AssertionError(f"{call.__name__} was not refused")


def until(what, seen):
    """Looks until it is seen."""
    end = time.monotonic() + LIMIT_SECONDS
    while not seen():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def objects():
    """Create, read, patch, replace and delete; typed, with every way to patch."""
    core = client.CoreV1Api()
    refused(404, "NotFound", core.read_namespaced_config_map, "a", NAMESPACE)
    core.create_namespaced_config_map(NAMESPACE, settings("a", "red"), dry_run="All")
    refused(404, "NotFound", core.read_namespaced_config_map, "a", NAMESPACE)
    made = core.create_namespaced_config_map(NAMESPACE, settings("a", "red"))
    assert made.metadata.uid and made.data == {"colour": "red"}
    again = settings("a", "red")
    refused(409, "AlreadyExists", core.create_namespaced_config_map, NAMESPACE, again)
    create = core.create_namespaced_config_map
    refused(422, "Invalid", create, NAMESPACE, settings("A_B", "red"))

    patch = core.patch_namespaced_config_map
    try:
        patch("a", NAMESPACE, {"dta": {}}, field_validation="Strict")
    except ApiException as error:
        assert 'unknown field \\"dta\\"' in str(error.body), error.body
    else:
        raise AssertionError("an unknown field was taken")
    patch("a", NAMESPACE, {"data": {"size": "1"}})
    operations = [{"op": "replace", "path": "/data/size", "value": "2"}]
    assert patch("a", NAMESPACE, operations).data["size"] == "2"
    merge = {"data": {"size": None, "colour": "blue"}}
    merged = patch("a", NAMESPACE, merge, _content_type="application/merge-patch+json")
    assert merged.data == {"colour": "blue"}, merged.data

    merged.data["colour"] = "green"
    replaced = core.replace_namespaced_config_map("a", NAMESPACE, merged)
    assert replaced.data == {"colour": "green"}
    replace = core.replace_namespaced_config_map
    refused(409, "Conflict", replace, "a", NAMESPACE, merged)

    core.create_namespaced_config_map(NAMESPACE, settings("b", "red"))
    page = core.list_namespaced_config_map(NAMESPACE, label_selector="app=shop", limit=1)
    assert [m.metadata.name for m in page.items] == ["a"] and page.metadata._continue
    rest = core.list_namespaced_config_map(
        NAMESPACE, label_selector="app=shop", limit=1, _continue=page.metadata._continue
    )
    assert [m.metadata.name for m in rest.items] == ["b"]
    other = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    delete = core.delete_namespaced_config_map
    refused(409, "Conflict", delete, "a", NAMESPACE, body=other)
    assert delete("a", NAMESPACE)["status"] == "Success"
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="app=shop")
    assert not core.list_namespaced_config_map(NAMESPACE, label_selector="app=shop").items


def workloads():
    """A kind with parts: scale and status."""
    apps = client.AppsV1Api()
    labels = {"app": "web"}
    container = client.V1Container(name="web", image="web:1")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[container]),
    )
    web = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="web"),
        spec=client.V1DeploymentSpec(
            replicas=0,
            selector=client.V1LabelSelector(match_labels=labels),
            template=template,
        ),
    )
    apps.create_namespaced_deployment(NAMESPACE, web)
    scale = apps.read_namespaced_deployment_scale("web", NAMESPACE)
    assert scale.spec.replicas in (0, None), scale
    scaled = {"spec": {"replicas": 2}}
    apps.patch_namespaced_deployment_scale("web", NAMESPACE, scaled)
    assert apps.read_namespaced_deployment("web", NAMESPACE).spec.replicas == 2
    until("its status says two replicas", lambda: (
        apps.read_namespaced_deployment_status("web", NAMESPACE).status.replicas == 2
    ))
    apps.delete_namespaced_deployment("web", NAMESPACE, propagation_policy="Foreground")
    core = client.CoreV1Api()
    until("its pods are gone", lambda: not core.list_namespaced_pod(NAMESPACE).items)


def applied():
    """Server-side apply with two managers."""
    core = client.CoreV1Api()

    def apply(colour, manager, **options):
        return core.patch_namespaced_config_map(
            "a",
            NAMESPACE,
            settings("a", colour),
            field_manager=manager,
            _content_type="application/apply-patch+yaml",
            **options,
        )

    made = apply("red", "mine")
    assert [f.manager for f in made.metadata.managed_fields] == ["mine"]
    refused(409, "Conflict", apply, "blue", "theirs")
    assert apply("blue", "theirs", force=True).data == {"colour": "blue"}


def watched():
    """A watch, one that resumes where it ended, and one that begins too early."""
    core = client.CoreV1Api()
    since = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    core.create_namespaced_config_map(NAMESPACE, settings("a", "red"))
    first = watch.Watch()
    events = first.stream(
        core.list_namespaced_config_map,
        NAMESPACE,
        label_selector="app=shop",
        resource_version=since,
    )
    event = next(events)
    assert (event["type"], event["object"].metadata.name) == ("ADDED", "a")
    since = event["object"].metadata.resource_version
    first.stop()
    core.patch_namespaced_config_map("a", NAMESPACE, {"data": {"colour": "blue"}})
    core.delete_namespaced_config_map("a", NAMESPACE)
    resumed = watch.Watch().stream(
        core.list_namespaced_config_map,
        NAMESPACE,
        resource_version=since,
        label_selector="app=shop",
        timeout_seconds=1,
    )
    seen = [(e["type"], e["object"].data["colour"]) for e in resumed]
    assert seen == [("MODIFIED", "blue"), ("DELETED", "blue")], seen


def informed():
    """The client's own informer: a cache that follows."""
    core = client.CoreV1Api()
    core.create_namespaced_config_map(NAMESPACE, settings("a", "red"))
    informer = SharedInformer(
        core.list_namespaced_config_map, namespace=NAMESPACE, label_selector="app=shop"
    )
    heard = []
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(
            kind, lambda o, kind=kind: heard.append((kind, o.metadata.name))
        )
    informer.start()
    until("the list", lambda: heard == [(ADDED, "a")])
    core.create_namespaced_config_map(NAMESPACE, settings("b", "red"))
    until("what is new", lambda: heard[1:] == [(ADDED, "b")])
    core.patch_namespaced_config_map("b", NAMESPACE, {"data": {"colour": "blue"}})
    core.delete_namespaced_config_map("a", NAMESPACE)
    until("what went", lambda: heard[2:] == [(MODIFIED, "b"), (DELETED, "a")])
    assert informer.cache.list_keys() == [f"{NAMESPACE}/b"]
    assert informer.cache.get_by_key(f"{NAMESPACE}/b").data == {"colour": "blue"}
    stopper = threading.Thread(target=informer.stop, daemon=True)
    stopper.start()


def discovered():
    """Kinds by discovery, without their types."""
    dynamic_client = dynamic.DynamicClient(client.ApiClient())
    maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")
    made = maps.create(body=settings("a", "red"), namespace=NAMESPACE)
    assert made.data.colour == "red"
    body = settings("a", "blue")
    maps.server_side_apply(
        body=body, namespace=NAMESPACE, field_manager="mine", force_conflicts=True
    )
    body = {"metadata": {"name": "a"}, "data": {"size": "1"}}
    maps.patch(body=body, namespace=NAMESPACE, content_type="application/merge-patch+json")
    shown = maps.get(name="a", namespace=NAMESPACE)
    assert shown.data.to_dict() == {"colour": "blue", "size": "1"}
    names = [m.metadata.name for m in maps.get(namespace=NAMESPACE, label_selector="app=shop").items]
    assert names == ["a"]
    for event in maps.watch(namespace=NAMESPACE, label_selector="app=shop", timeout=5):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "a")
        break
    maps.delete(name="a", namespace=NAMESPACE)
    deployments = dynamic_client.resources.get(api_version="apps/v1", kind="Deployment")
    assert deployments.namespaced and deployments.name == "deployments"


def streams():
    """Commands, ports, logs and eviction of the pod `web`."""
    core = client.CoreV1Api()
    run = core.connect_get_namespaced_pod_exec
    where = ("web", NAMESPACE)
    options = {"container": "httpd", "stdout": True, "stderr": True, "tty": False}
    said = stream(run, *where, command=["echo", "hello"], stdin=False, **options)
    assert said == "hello\n", said
    script = "read line; echo said $line; echo wrong >&2; exit 4"
    process = stream(
        run, *where, command=["sh", "-c", script], stdin=True, _preload_content=False, **options
    )
    process.write_stdin("this\n")
    process.run_forever(timeout=LIMIT_SECONDS)
    assert process.read_stdout() == "said this\n"
    assert process.read_stderr() == "wrong\n"
    assert process.returncode == 4

    # What kept its input open would wait for ever.
    process = stream(
        run, *where, command=["cat"], stdin=True, _preload_content=False, **options
    )
    process.write_stdin("all of it")
    assert process.subprotocol == "v5.channel.k8s.io"
    process.close_channel(0)
    process.run_forever(timeout=LIMIT_SECONDS)
    assert process.returncode == 0
    assert process.read_stdout() == "all of it"
    process.close()

    forward = portforward(core.connect_get_namespaced_pod_portforward, *where, ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET /passwd HTTP/1.0\r\n\r\n")
    answer = b""
    while piece := socket.recv(1024):
        answer += piece
    assert b"root:x:0" in answer, answer
    assert forward.error(8080) is None

    heard = []
    follower = watch.Watch()
    for line in follower.stream(
        core.read_namespaced_pod_log, name="web", namespace=NAMESPACE, container="echo"
    ):
        heard.append(line)
        if len(heard) == 2:
            follower.stop()
            break
        attached = stream(
            core.connect_get_namespaced_pod_attach,
            *where,
            container="echo",
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        attached.write_stdin("hello\n")
    assert heard == ["begin", "got hello"], heard
    assert core.read_namespaced_pod_log(*where, container="echo", tail_lines=1) == "got hello\n"

    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="web"))
    core.create_namespaced_pod_eviction(*where, eviction)
    until("the pod is gone", lambda: not core.list_namespaced_pod(NAMESPACE).items)


if __name__ == "__main__":
    config.load_kube_config()
    globals()[sys.argv[1]]()
