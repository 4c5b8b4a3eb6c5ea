"""The standard names of telemetry's destinations: what is refused at the start, and how."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from gateway.config.destinations import endpoint
from gateway.config.settings import SettingsError, load_settings
from gateway.telemetry.link.destinations import PartMissing, check_installed, destinations_of, interval_s, resource_of

AZURE = "InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=https://here.example/"
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"


def refused(folder: Path, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, folder)
    return str(caught.value)


def given(folder: Path, **environ: str) -> dict[str, str]:
    return load_settings(environ, folder).destinations_given


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (OTLP, "collector:4318", "must be a URL with a host"),
        (OTLP, "http://user:word@collector", "must hold no user name"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector", "must be a URL with a host"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "gRPC is not spoken here; write http/protobuf"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json", "must be http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization", "must be pairs such as key=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c", "must be names and values of HTTP headers"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=line%0Abreak", "must be names and values of HTTP headers"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "must be a whole number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0", "must be a whole number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "must be gzip or none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such.pem", "must be the path of a file with PEM certificates"),
        ("OTEL_TRACES_EXPORTER", "console", "must be otlp or none"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5", "must be a whole number of milliseconds, from 1000"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a", "must be pairs such as key=value"),
        ("OTEL_SDK_DISABLED", "yes", "must be true or false"),
        ("LANGFUSE_PUBLIC_KEY", "pk", "needs LANGFUSE_SECRET_KEY"),
        ("LANGFUSE_SECRET_KEY", "sk-canary", "needs LANGFUSE_PUBLIC_KEY"),
        ("LANGFUSE_BASE_URL", "langfuse.example", "must be a URL with a host"),
        ("LANGFUSE_TRACING_ENVIRONMENT", "langfuse-x", "must not begin with langfuse"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "abc", "must be parts such as InstrumentationKey"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=canary", "must hold InstrumentationKey="),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", AZURE.replace("https:", "x:"), "must be a URL with a host"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", AZURE.replace("https:", "x:"), ": IngestionEndpoint must be a URL"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-length=5", "must not hold content-length"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b,Host=canary", "must not hold Host, which Patchbay sets itself"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "transfer-encoding=chunked", "must not hold transfer-encoding"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Connection=close", "must not hold Connection"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-type=text/plain", "must not hold content-type"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-encoding=br", "must not hold content-encoding"),
        ("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "Authorization=AAD", "needs APPLICATIONINSIGHTS_CONN"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_what_to_do(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    environ = {OTLP: "http://collector:4318", name: value}
    told = refused(tmp_path, **environ)
    assert told.startswith(f"{name}: ")
    assert message in told
    assert "canary" not in told


@pytest.mark.parametrize("text", ["foo", "Authorization=Basic"])
def test_azures_authentication_says_what_it_takes(tmp_path: Path, text: str) -> None:
    names = {"APPLICATIONINSIGHTS_CONNECTION_STRING": AZURE, "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": text}
    told = refused(tmp_path, **names)
    assert told.startswith("APPLICATIONINSIGHTS_AUTHENTICATION_STRING: must be Authorization=AAD, or Authorization=AAD")
    assert "InstrumentationKey" not in told


def test_certificates_are_read_from_plain_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    told = refused(tmp_path, **{OTLP: "https://collector", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem")})
    assert told.startswith(
        "OTEL_EXPORTER_OTLP_CERTIFICATE: must be the path of a file with PEM certificates, but it is"
    )
    assert "but it is a named pipe; put a plain file there" in told


def test_swapped_keys_of_langfuse_are_refused(tmp_path: Path) -> None:
    told = refused(tmp_path, LANGFUSE_PUBLIC_KEY="sk-lf-canary", LANGFUSE_SECRET_KEY="pk-lf-canary").splitlines()
    assert told == [
        "LANGFUSE_PUBLIC_KEY: begins with sk-lf-, as a secret key does; set each key to its own name",
        "LANGFUSE_SECRET_KEY: begins with pk-lf-, as a public key does; set each key to its own name",
    ]


def test_two_addresses_of_langfuse_must_be_the_same(tmp_path: Path) -> None:
    keys = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_BASE_URL": "https://a.example/"}
    assert given(tmp_path, **keys, LANGFUSE_HOST="https://a.example")
    told = refused(tmp_path, **keys, LANGFUSE_HOST="https://b.example")
    assert told == "LANGFUSE_HOST: is another address than LANGFUSE_BASE_URL; set only one of the two"


def test_numbers_and_booleans_of_a_file_are_the_text_that_is_written(tmp_path: Path) -> None:
    lines = ("otel_metric_export_interval: 2000", "otel_sdk_disabled: true", "otel_service_name: 1.50")
    (tmp_path / "patchbay.yaml").write_text("\n  ".join(("destinations:", *lines)) + "\n")
    assert given(tmp_path) == {
        "otel_metric_export_interval": "2000",
        "otel_sdk_disabled": "true",
        "otel_service_name": "1.50",
    }
    (tmp_path / "patchbay.yaml").write_text("destinations:\n  otel_sdk_disabled: False\n")
    assert given(tmp_path) == {"otel_sdk_disabled": "false"}


def test_the_place_of_a_bad_value_in_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LANGFUSE_PUBLIC_KEY=pk\n")
    assert refused(tmp_path).startswith(f"{tmp_path}/.env:1: LANGFUSE_PUBLIC_KEY: needs LANGFUSE_SECRET_KEY")
    (tmp_path / ".env").unlink()
    (tmp_path / "patchbay.yaml").write_text("destinations:\n  otel_exporter_otlp_endpoint: collector\n")
    assert refused(tmp_path).startswith(
        f"{tmp_path}/patchbay.yaml:2: destinations.otel_exporter_otlp_endpoint: must be"
    )
    (tmp_path / "patchbay.yaml").write_text("destinations:\n  otel_endpoint: http://collector\n")
    assert "there is no such setting" in refused(tmp_path)


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},  # as an operator of Kubernetes sets it everywhere
        {OTLP: "http://collector", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc", "OTEL_METRICS_EXPORTER": "none"},
        {OTLP: "nonsense", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_SAMPLER": "nonsense", "OTEL_PYTHON_LOG_LEVEL": "nonsense"},
        {"LANGFUSE_PUBLIC_KEY": "", "LANGFUSE_SECRET_KEY": " "},
    ],
)
def test_what_is_not_used_is_not_checked(tmp_path: Path, environ: dict[str, str]) -> None:
    load_settings(environ, tmp_path)


def test_without_names_there_is_no_destination(tmp_path: Path) -> None:
    assert destinations_of(given(tmp_path)) == ()
    assert destinations_of(given(tmp_path, **{OTLP: "http://collector", "OTEL_SDK_DISABLED": "true"})) == ()


def test_otlp_has_a_target_for_each_signal_with_its_own_options(tmp_path: Path) -> None:
    environ = {
        OTLP: "http://collector:4318/base/",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%2Cb, x=y",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://logs.example/here",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "api-key=logs",
        "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "500",
        "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION": "none",
        "OTEL_METRICS_EXPORTER": "none",
    }
    (otlp,) = destinations_of(given(tmp_path, **environ))
    assert (otlp.name, sorted(otlp.targets)) == ("otlp", ["logs", "traces"])
    traces, logs = otlp.targets["traces"], otlp.targets["logs"]
    assert traces.url == "http://collector:4318/base/v1/traces"
    assert (traces.headers, traces.timeout_s, traces.gzip) == ({"api-key": "a,b", "x": "y"}, 10.0, True)
    assert logs.url == "https://logs.example/here"
    assert (logs.headers, logs.timeout_s, logs.gzip) == ({"api-key": "logs"}, 0.5, False)


def test_one_signal_can_be_sent_alone(tmp_path: Path) -> None:
    found = given(tmp_path, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://collector/v1/traces")
    assert endpoint(found, "metrics") is None
    (otlp,) = destinations_of(found)
    assert list(otlp.targets) == ["traces"]


def test_langfuse_and_azure_monitor_stand_beside_it(tmp_path: Path) -> None:
    environ = {
        "LANGFUSE_PUBLIC_KEY": "pk",
        "LANGFUSE_SECRET_KEY": "sk",
        "LANGFUSE_HOST": "https://langfuse.example/",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": AZURE,
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Authorization=AAD;ClientId=me",
    }
    langfuse, azure = destinations_of(given(tmp_path, **environ))
    assert langfuse.targets["traces"].url == "https://langfuse.example/api/public/otel/v1/traces"
    assert langfuse.targets["traces"].headers["Authorization"] == "Basic cGs6c2s="
    assert (azure.name, azure.connection, azure.entra, azure.client_id) == ("azure", AZURE, True, "me")
    assert azure.takes("traces")
    assert not azure.takes("logs")
    assert type(langfuse).from_json(langfuse.as_json()) == langfuse


def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    destinations = destinations_of(
        given(tmp_path, **{OTLP: "http://collector", "APPLICATIONINSIGHTS_CONNECTION_STRING": AZURE})
    )

    def lacking(missing: str) -> Callable[[str], object]:
        def version_of(package: str) -> object:
            if package == missing:
                raise PackageNotFoundError
            return "1"

        return version_of

    check_installed(destinations, lacking("another"))
    with pytest.raises(PartMissing, match=re.escape("(otlp): opentelemetry-proto is not installed; run pip install")):
        check_installed(destinations, lacking("opentelemetry-proto"))
    with pytest.raises(PartMissing, match=re.escape("pip install 'patchbay[azure-monitor]'")):
        check_installed(destinations, lacking("azure-monitor-opentelemetry-exporter"))


def test_the_resource_says_who_sends_and_the_operator_has_the_last_word() -> None:
    found = resource_of({}, version="1.2", instance="boot_1", host="h")
    assert found == {
        "service.name": "patchbay",
        "service.version": "1.2",
        "service.instance.id": "boot_1",
        "host.name": "h",
    }
    own = {"otel_resource_attributes": "service.name=a,team=b%20c", "otel_service_name": "desk"}
    found = resource_of(own, version="1.2", instance="boot_1", host="h", pod="desk-0")
    assert (found["service.name"], found["team"], found["k8s.pod.name"]) == ("desk", "b c", "desk-0")
    assert "host.name" not in found


def test_figures_are_sent_once_a_minute_unless_told_otherwise() -> None:
    assert interval_s({}) == 60.0
    assert interval_s({"otel_metric_export_interval": "15000"}) == 15.0
