"""Binary columns of a fixed length: hashes of 32 bytes, addresses of 20."""

from typing import Any

from django.db import models


class FixedBinaryField(models.BinaryField):
    """Bytes of exactly `size`; a wrong length never reaches the database, on either engine."""

    size: int

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> bytes | None:
        return None if value is None else bytes(value)

    def to_python(self, value: Any) -> bytes | None:
        if isinstance(value, str):
            value = bytes.fromhex(value.removeprefix("0x"))
        return None if value is None else bytes(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is not None:
            if not isinstance(value, (bytes, bytearray, memoryview)):
                raise TypeError(f"{self.name or 'value'} takes bytes, not {type(value).__name__}")
            value = bytes(value)
            if len(value) != self.size:
                raise ValueError(f"{self.name or 'value'} takes {self.size} bytes, not {len(value)}")
        return super().get_db_prep_value(value, connection, prepared)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else "0x" + bytes(value).hex()


class Bytes32Field(FixedBinaryField):
    size = 32


class AddressField(FixedBinaryField):
    """An account or contract: 20 bytes inside, EIP-55 text only at the edges."""

    size = 20
