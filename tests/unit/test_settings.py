import pytest

from redisop.errors import InputError
from redisop.settings import Settings


def test_everything_has_a_default():
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.image_repository == "docker.io/library/redis"
    assert settings.image_allow_list == ()
    assert settings.domain is None


def test_reads_every_setting():
    found = Settings.from_env(
        {
            "REDISOP_IMAGE_REPOSITORY": "registry.example:5000/mirror/redis",
            "REDISOP_DEFAULT_VERSION": "7.4.1",
            "REDISOP_IMAGE_ALLOW_LIST": "registry.example/team/, registry.example/redis,sha256:" + "a" * 64 + ",",
            "REDISOP_EXPORTER_IMAGE": "registry.example/exporter@sha256:" + "b" * 64,
            "REDISOP_DOMAIN": " redis.example.com ",
            "REDISOP_OPERATOR_NAMESPACE": "operators",
            "REDISOP_GATEWAY_NAMESPACE": "gateways",
        }
    )
    assert found.model_dump() == {
        "image_repository": "registry.example:5000/mirror/redis",
        "default_version": "7.4.1",
        "image_allow_list": ("registry.example/team/", "registry.example/redis", "sha256:" + "a" * 64),
        "exporter_image": "registry.example/exporter@sha256:" + "b" * 64,
        "domain": "redis.example.com",
        "operator_namespace": "operators",
        "gateway_namespace": "gateways",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDISOP_IMAGE_REPOSITORY", "docker.io/library/redis:8"),
        ("REDISOP_IMAGE_REPOSITORY", "redis\nuser: root"),
        ("REDISOP_DEFAULT_VERSION", "8 2"),
        ("REDISOP_IMAGE_ALLOW_LIST", "good/image, bad image"),
        ("REDISOP_IMAGE_ALLOW_LIST", "sha256:abc"),
        ("REDISOP_EXPORTER_IMAGE", "http://registry.example/x"),
        ("REDISOP_DOMAIN", "https://redis.example.com"),
        ("REDISOP_OPERATOR_NAMESPACE", "Not_A_Namespace"),
        ("REDISOP_GATEWAY_NAMESPACE", "x" * 64),
    ],
)
def test_names_the_variable_that_is_wrong(name: str, value: str):
    with pytest.raises(InputError, match=f"^{name}: ") as caught:
        Settings.from_env({name: value})
    assert caught.value.where == name


def test_empty_variables_count_as_left_out():
    assert Settings.from_env({"REDISOP_DOMAIN": "", "REDISOP_DEFAULT_VERSION": " "}) == Settings()


def test_ignores_what_kubernetes_injects_for_a_service_of_this_name():
    assert Settings.from_env({"REDISOP_PORT": "tcp://10.0.0.1:80", "REDISOP_SERVICE_HOST": "10.0.0.1"}) == Settings()
