DROP TRIGGER whole_movements ON transactions;
DROP FUNCTION refuse_stray_entries();
DROP TRIGGER recorded ON transfers;
DROP FUNCTION refuse_unrecorded_transfers();
