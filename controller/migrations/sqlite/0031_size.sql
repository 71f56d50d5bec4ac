-- What a VM that runs is to have once it was stopped.
ALTER TABLE vm_instance ADD COLUMN next_cpu_num BIGINT;
ALTER TABLE vm_instance ADD COLUMN next_memory_size BIGINT;
-- What it may be given while it runs; nothing where it was started without room to grow.
ALTER TABLE host_claim ADD COLUMN most_cpu BIGINT;
ALTER TABLE host_claim ADD COLUMN most_memory BIGINT;
