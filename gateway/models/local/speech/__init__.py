"""The offline model's speech: turn finding, recognition and synthesis."""
