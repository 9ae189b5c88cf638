"""What only a GPU shows: memory against the allocator's own peaks, reuse of demonstrations, use of the device."""
