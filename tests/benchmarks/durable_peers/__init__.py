"""Programs that run three-step workflows, one engine each; driven over standard input by tests.benchmarks.durable."""
