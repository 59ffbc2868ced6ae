-- Links that were sent are good for nothing; whoever needs one asks again.
DROP FUNCTION clear_account_lock(uuid);
DROP FUNCTION own_referrals(uuid, uuid, bigint);
DROP INDEX users_by_referrer;
ALTER TABLE users DROP COLUMN phone_verified_at, DROP COLUMN email_verified_at;
DROP TABLE one_time_tokens;
