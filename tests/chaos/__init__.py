"""Workers under faults, on a real Apache Kafka."""
