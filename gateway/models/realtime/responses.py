"""The state of one leg's responses that reading a message needs, where the model leaves something out."""

from __future__ import annotations

from sessions.ports import Ids


class ModelResponses:
    """Knows which response runs, and which requests for responses beside the conversation are open."""

    __slots__ = ("_ids", "_unnamed", "out_of_band_requests", "running", "spoke")

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._unnamed = False  # a response began without an id, and has not ended
        # The id of the response that runs; None while none is known to run.
        self.running: str | None = None
        # Whether the response that began last has brought an item, words or a function call.
        self.spoke = False
        # The ids of requests for responses beside the conversation that the model has not answered.
        self.out_of_band_requests: set[str] = set()

    def began(self, response_id: str) -> None:
        """A response of this id begins."""
        self.running = response_id
        self.spoke = False

    def began_without_id(self) -> None:
        """A response begins whose id the model did not send."""
        self._unnamed = True

    def brought_item(self, response_id: str) -> None:
        """A response brings an item: it runs, even if its beginning was never seen."""
        self.spoke = True
        self.running = self.running or response_id

    def answers_out_of_band(self) -> bool:
        """Whether a response without a conversation answers such a request; one request is then answered.

        Some services never name a conversation: without a request, the response belongs to the conversation.
        """
        if not self.out_of_band_requests:
            return False
        self.out_of_band_requests.pop()
        return True

    def id_of_end(self) -> str | None:
        """The id of a response that ends without an id; None if no response runs.

        A response that never had an id gets one from the gateway.
        """
        if self.running is None and self._unnamed:
            self._unnamed = False
            return self._ids.new("resp")
        return self.running

    def ended(self) -> None:
        """The response that ran has ended."""
        self.running = None
        self._unnamed = False
