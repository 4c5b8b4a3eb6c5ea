from __future__ import annotations

from gateway.http.health import health_urls


def test_without_settings_the_default_address_is_used() -> None:
    assert health_urls({}) == ("http://127.0.0.1:8080/healthz", "https://127.0.0.1:8080/healthz")
    assert health_urls({"PATCHBAY_PORT": " ", "PATCHBAY_HOST": ""}) == health_urls({})


def test_a_server_that_listens_everywhere_is_asked_on_loopback() -> None:
    assert health_urls({"PATCHBAY_HOST": "0.0.0.0", "PATCHBAY_PORT": "9"})[0] == "http://127.0.0.1:9/healthz"
    assert health_urls({"PATCHBAY_HOST": "::"})[0] == "http://[::1]:8080/healthz"


def test_a_server_that_listens_on_one_address_is_asked_there() -> None:
    assert health_urls({"PATCHBAY_HOST": "10.0.0.7"})[0] == "http://10.0.0.7:8080/healthz"


def test_with_a_certificate_tls_is_tried_first() -> None:
    urls = health_urls({"PATCHBAY_TLS_CERT": "cert.pem"})
    assert urls == ("https://127.0.0.1:8080/healthz", "http://127.0.0.1:8080/healthz")
