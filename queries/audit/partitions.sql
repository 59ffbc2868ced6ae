--! make
SELECT make_audit_partitions($1::integer) AS made;
