/** The highest JWT_CLOCK_TOLERANCE_S. */
export const CLOCK_TOLERANCE_MAX_S = 300;

/** How to verify tokens: by a secret or by the keys at a URL. */
export interface JwtSettings {
  readonly secret?: string;
  readonly jwksUrl?: URL;
  readonly issuer?: string;
  readonly audience?: string;
  /** The claim that names the actor. */
  readonly actorClaim: string;
  /** How far the clocks of the issuer and of this gateway may differ. */
  readonly clockToleranceS: number;
}
