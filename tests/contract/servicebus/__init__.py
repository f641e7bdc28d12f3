"""What any Service Bus endpoint must do, asked through the unmodified SDK.

`SB_TEST_TARGET=local|ms-emulator|azure` chooses whom to ask (default: the endpoint of this repository, started for the
run). The others need `SB_TEST_CONNECTION` and `SB_TEST_ADMIN_CONNECTION`, and take `SB_TEST_CA`, `SB_TEST_ADMIN_HTTP=1`.
"""
