"""Settings from the environment, and what is said of bad ones."""

import pytest

from service.errors import StartupError
from service.settings import Settings, read_settings, unknown_variables


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_PORT", "9001")
    monkeypatch.setenv("DIGITS_REQUIRED_MODELS", "cnn, dense,")
    settings = read_settings()
    assert settings.port == 9001
    assert settings.required_models == ("cnn", "dense")


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_API_KEY", "")
    monkeypatch.setenv("DIGITS_PORT", "")
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "eighty"), ("PORT", "70000"), ("DEVICE", "tpu"), ("MAX_BODY_BYTES", "-1"), ("REQUEST_TIMEOUT_S", "0")],
)
def test_a_bad_value_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DIGITS_{name}", value)
    with pytest.raises(StartupError) as error:
        read_settings()
    assert f"DIGITS_{name}='{value}'" in error.value.detail
    assert "\n" not in error.value.detail


@pytest.mark.parametrize("name", ["API_KEY", "ADMIN_KEY"])
@pytest.mark.parametrize("key", [" ", "secret\n", " secret", "sec\nret"])
def test_a_key_that_no_header_carries_stops_the_start_and_is_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, key: str
) -> None:
    monkeypatch.setenv(f"DIGITS_{name}", key)
    with pytest.raises(StartupError) as error:
        read_settings()
    assert error.value.detail.startswith(f"DIGITS_{name}: ")
    assert "secret" not in error.value.detail


def test_a_key_may_have_blanks_inside_and_any_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_API_KEY", "clé du café")
    assert read_settings().api_key is not None


def test_settings_are_frozen_and_the_key_stays_out_of_logs() -> None:
    settings = Settings(api_key="secret")
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
    assert "secret" not in repr(settings)


def test_names_that_mean_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_PROT", "9000")
    monkeypatch.setenv("DIGITS_PORT", "9000")
    assert unknown_variables() == ["DIGITS_PROT"]
