"""What several tests use: brokers, servers, builders."""
